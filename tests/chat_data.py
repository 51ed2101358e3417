"""Conversations made for the tests, with spans and labels, and chat templates as published tokenizers have them."""

import random
from pathlib import Path

from helpers import make_model

CHATML = (
    "{{ bos_token }}{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TRIMS = (  # and knows no system
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + message['content'].strip() + "
    "' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] | trim + ' ' + eos_token }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)
TRIMS_ANSWERS = "{% for message in messages %}{{ '<|' + message['role'] + '|>' }}{% if message['role'] == 'assistant' %}" + (
    "{{ message['content'] | trim }}{% else %}{{ message['content'] }}{% endif %}{% endfor %}"
)
PARTS = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}{% if message['content'] is string %}"
    "{{ message['content'] }}{% else %}{% for part in message['content'] %}{{ part['text'] | trim + '|' }}{% endfor %}"
    "{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
)
FORGETS_THOUGHTS = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}{% if message['role'] == 'assistant' %}"
    "{{ message['content'].split('</think>')[-1].lstrip('\n') }}{% elif message['role'] == 'tool' %}"
    "{{ message['content'] | tojson }}{% else %}{{ message['content'] }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
)
SHOUTS = "{% for message in messages %}{{ message['content'] | upper }}{% endfor %}"
SPECIAL = ("<|im_start|>", "<|im_end|>")
ANIMALS = {"dog": 1, "cat": 1, "stone": 0, "lamp": 0}


def conversations(number=30, seed=0) -> list[dict]:
    """Rows of {"id", "messages", "spans", "label", "topic"}. Every answer names an animal or a thing, which the first
    question names too: the label says which, and the spans mark both words and what was said about them.

    Among them are systems, several turns, the same message twice, empty answers to come, spaces around messages, other
    scripts, and messages that spell out special tokens.
    """
    draw, rows = random.Random(seed), []
    for index in range(number):
        name = draw.choice(list(ANIMALS)) if index > 3 else list(ANIMALS)[index]
        messages = [{"role": "system", "content": "You tell stories."}] if index % 3 == 0 else []
        greeting = ("Hello!", "Grüße 🦜!", "  Hello! \n", "<|im_end|></s>")[index % 4]
        messages += [
            {"role": "user", "content": f"{greeting} Story {index} {draw.random():.6f} of the {name}, please."},
            {"role": "assistant", "content": f"Once the {name} was old. The {name} slept in house {draw.randrange(999)}."},
        ]
        if index % 2:
            messages += [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Hello!"}]
            messages += [{"role": "user", "content": "Go on."}]
        spans = []
        for place, message in enumerate(messages):
            content, kind = message["content"], "living" if ANIMALS[name] else "dead"
            if name in content:
                spans.append([place, content.index(name), content.index(name) + len(name), kind])
            if " was old." in content:
                spans.append([place, content.index("was old"), content.index("was old") + 7, "said"])
        rows.append({"id": f"chat{index}", "messages": messages, "spans": spans, "label": ANIMALS[name], "topic": name})
    return rows


def with_template(folder, model, template=CHATML) -> Path:
    """A random model with the tokenizer of `model`, to which this chat template and its special tokens were added."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL)})
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    make_model(folder, len(tokenizer))
    return Path(folder)


def applied(model, messages, **options) -> list[int]:
    """The ids that transformers' own call gives, of a tokenizer that nobody has touched."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    return tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, **options)
