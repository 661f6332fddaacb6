"""The page of `ringtide run --html` and `ringtide report` in headless Chromium: opened as a file, without a network, with JavaScript
and without, and printed."""

import json
import re
import subprocess
import tempfile
from html.parser import HTMLParser
from pathlib import Path

from benchlib.servers import free_port

from .check import RINGTIDE, holds, run_page, same, says, serve

SECONDS_MAX = 60
# Chromium asks nobody for anything by itself, finds no name, and has a proxy that refuses all connections.
ALONE = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=http://127.0.0.1:9",
         "--hide-scrollbars")
EVIL = "%3Cscript%3Ealert(1)%3C/script%3E?a=<script>alert(2)</script>&b='\""


class Seen(HTMLParser):
    """What is in a document: how often each element, its headings, and the labels of its plots."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.headings, self.labels, self.within = {}, [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements[tag] = self.elements.get(tag, 0) + 1
        self.within = tag
        attributes = dict(attributes)
        if tag == "svg" and attributes.get("role") == "img":
            self.labels.append(attributes["aria-label"])

    def handle_data(self, text):
        if self.within in ("h1", "h2", "h3") and text.strip():
            self.headings.append(text.strip())
            self.within = None


def chromium(found, folder, page, *flags):
    """Opens a page. Returns what Chromium printed, and what it had to say."""
    command = [found["chromium"], *ALONE, f"--user-data-dir={folder}/profile", "--enable-logging=stderr", *map(str, flags),
               Path(page).as_uri()]
    done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=SECONDS_MAX)
    holds(f"chromium exited with {done.returncode}: {done.stderr[-1000:]}", done.returncode == 0)
    return done.stdout, done.stderr


def complaints(said):
    """The lines of the page's console."""
    return [line for line in said.splitlines() if "CONSOLE" in line]


def requested(log):
    """The addresses that were asked for, without those that Chromium asks for by itself."""
    session = json.loads(Path(log).read_text())
    kinds = {number: name for name, number in session["constants"]["logEventTypes"].items()}
    jobs = [event for event in session["events"] if kinds[event["type"]] == "URL_REQUEST_START_JOB"]
    urls = {event["params"]["url"] for event in jobs if "url" in event.get("params", {})}
    own = re.compile(r"https?://([a-z0-9-]+\.)*(google|googleapis|gvt1)\.com/")
    return sorted(url for url in urls if not own.match(url) and not url.startswith(("file:", "data:", "chrome")))


def pages(folder):
    """Makes pages: of a closed loop, of an open one with failures that is not valid, and of both and a third side by side."""
    with serve() as server:
        closed = run_page(folder, "closed", server.url("/"), "-c", "4", "-d", "1500ms")
        missed = run_page(folder, "open", server.url("/flaky?p=0.2"), "-c", "4", "-d", "1500ms", "-R", "100:400", "--timeout",
                          "200ms", "--threshold", "p99<1ns", exit_code=3)
        short = run_page(folder, "short", server.url("/bytes/1000"), "-c", "1", "-n", "10")
    both = Path(folder) / "both.html"
    command = [str(RINGTIDE), "report", *(str(result) for _, result in (closed, missed, short)), "-o", str(both)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    same(f"ringtide report: exit ({done.stderr})", done.returncode, 0)
    # Nothing answers there, so this one has only its URL to show.
    evil = Path(folder) / "evil.html"
    result = json.loads(closed[1].read_text())
    result["plan"]["url"] = f"http://h/{EVIL}"
    result["verdict"] = {"valid": False, "reasons": [EVIL]}
    (Path(folder) / f"{'<b>'}.json").write_text(json.dumps(result))
    command = [str(RINGTIDE), "report", str(Path(folder) / "<b>.json"), str(closed[1]), "-o", str(evil)]
    same("ringtide report of a strange URL: exit", subprocess.run(command).returncode, 0)
    return {"closed": closed[0], "open": missed[0], "both": both, "evil": evil}


def chromium_reads_pages(found):
    with tempfile.TemporaryDirectory(prefix="ringtide-page-") as folder:
        made = pages(folder)
        for name, page in made.items():
            log = Path(folder) / "net.json"
            shown, said = chromium(found, folder, page, "--dump-dom", f"--log-net-log={log}")
            same(f"{name}: console", complaints(said), [])
            same(f"{name}: asked the network for", requested(log), [])
            seen = Seen(shown)
            same(f"{name}: scripts, images, frames", [seen.elements.get(tag, 0) for tag in ("script", "img", "iframe", "b")], [0] * 4)
            many = name in ("both", "evil")
            for heading in ("Latency", "Latency over time", "Throughput over time", "Phases", "Plan and environment"):
                holds(f"{name}: no heading {heading!r} in {seen.headings}", heading in seen.headings)
            holds(f"{name}: plots {seen.labels}", len(seen.labels) >= (8 if many else 5))
            holds(f"{name}: tables {seen.elements}", seen.elements.get("table", 0) >= 6)
        text = made["open"].read_text()
        says("open", text, "✗ 1 of 1 threshold missed", "asked for", "Failed requests by kind")
        says("evil", made["evil"].read_text(), "&lt;script&gt;alert(2)&lt;/script&gt;", "&lt;b&gt;.json")
        looks_the_same_without_javascript(found, folder, made["open"])
        prints(found, folder, made["both"])
        a_page_that_breaks_its_policy_is_noticed(found, folder, made["closed"])


def looks_the_same_without_javascript(found, folder, page):
    without = Path(folder) / "without"
    settings = without / "profile" / "Default" / "Preferences"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"profile": {"default_content_setting_values": {"javascript": 2}}}))
    scripted = Path(folder) / "scripted.html"
    scripted.write_text("<p>plain</p><script>document.querySelector('p').textContent = 'scripted'</script>")
    for place, shows in ((folder, "<p>scripted</p>"), (without, "<p>plain</p>")):
        says("whether a script runs", chromium(found, place, scripted, "--dump-dom")[0], shows)
    shown, pictures = [], []
    for place in (folder, without):
        picture = Path(place) / "picture.png"
        chromium(found, place, page, "--window-size=900,3000", f"--screenshot={picture}")
        pictures.append(picture.read_bytes())
        shown.append(chromium(found, place, page, "--dump-dom")[0])
    holds(f"a picture of {len(pictures[0])} bytes is empty", len(pictures[0]) > 50_000)
    holds("it looks otherwise without JavaScript", pictures[0] == pictures[1] and shown[0] == shown[1])


def prints(found, folder, page):
    file = Path(folder) / "page.pdf"
    chromium(found, folder, page, "--no-pdf-header-footer", f"--print-to-pdf={file}")
    document = file.read_bytes()
    holds("no PDF", document.startswith(b"%PDF-"))
    count = len(re.findall(rb"/Type\s*/Page\b", document))
    holds(f"{count} printed pages", 2 <= count <= 30)


def a_page_that_breaks_its_policy_is_noticed(found, folder, page):
    """Else an empty console and an empty log would prove nothing."""
    broken, log = Path(folder) / "broken.html", Path(folder) / "net.json"
    address = f"http://127.0.0.1:{free_port()}/picture.png"
    added = f"<main><style>p {{ color: red }}</style><script>console.log(1)</script><img src='{address}'>"
    text = page.read_text().replace("<main>", added)
    broken.write_text(text)
    _, said = chromium(found, folder, broken, "--dump-dom", f"--log-net-log={log}")
    holds(f"Chromium says nothing: {said[-500:]}", len(complaints(said)) >= 3)
    same("what the policy refuses is asked for", requested(log), [])
    broken.write_text(text.replace("Content-Security-Policy", "X-Nothing"))
    chromium(found, folder, broken, "--dump-dom", f"--log-net-log={log}")
    same("without the policy it is", requested(log), [address])


PARTIES = (chromium_reads_pages,)
