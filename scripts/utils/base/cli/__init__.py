"""What a script is told: flags of the command line and of YAML files.

Each file imports only from those above it:

    yaml_file           a YAML file of flags or sections, with the line of every key
    span_probe_section  the `probe:` section of a span probe's configuration, as flags of train_probe
    sae_sections        the `sae:` and `sae_training:` sections of such a configuration, as flags of train_sae
    words               the words of a command line: lists, flags with their values, switches
    config_file         --config: a file's flags, checked, and which of them give way to the command line
    parser              the parser of every script, the types of flags, and how a script is run
"""
