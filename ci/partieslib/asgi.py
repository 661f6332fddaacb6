"""An application for hypercorn: it echoes bodies, and `/bytes/N` has N bytes."""


async def echo(scope, receive, send):
    if scope["type"] != "http":
        return
    assert scope["http_version"] == "2", scope["http_version"]
    path = scope["path"]
    body = b"x" * int(path[7:]) if path.startswith("/bytes/") else b"hello world\n"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/octet-stream")]})
    if scope["method"] != "POST":
        return await send({"type": "http.response.body", "body": body})
    more = True
    while more:
        event = await receive()
        more = event.get("more_body", False)
        await send({"type": "http.response.body", "body": event.get("body", b""), "more_body": more})
