"""A page of a real browser that remembers what it should not do."""


def watched(chromium, width=1280, height=900):
    """An empty page. Every message, error, dialog and request from now on is an entry of page.events."""
    page = chromium.new_page(viewport={"width": width, "height": height})
    page.events = []
    page.on("console", lambda message: page.events.append(f"console {message.type}: {message.text}"))
    page.on("pageerror", lambda error: page.events.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (page.events.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: page.events.append(f"request: {request.url}"))
    return page
