"""The page of `ringtide run --html` and `ringtide report` in headless Chromium: opened as a file, without a network, with JavaScript
and without, and printed."""

import json
import re
import subprocess
import tempfile
from html.parser import HTMLParser
from pathlib import Path

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
    """The addresses that Chromium asked for, except its own."""
    session = json.loads(Path(log).read_text())
    kinds = {number: name for name, number in session["constants"]["logEventTypes"].items()}
    jobs = [event for event in session["events"] if kinds[event["type"]] == "URL_REQUEST_START_JOB"]
    return {event["params"]["url"] for event in jobs if "url" in event.get("params", {})}


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
            same(f"{name}: requests of its own", {url for url in requested(log) if str(page.name) not in url and "file:" in url}, set())
            holds(f"{name}: nothing goes to a network", not any("127.0.0.1" in url or "//h/" in url for url in requested(log)))
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
    pictures = []
    for name, flags in (("with", ()), ("without", ("--blink-settings=scriptEnabled=false",))):
        picture = Path(folder) / f"{name}.png"
        chromium(found, folder, page, *flags, "--window-size=900,3000", f"--screenshot={picture}")
        pictures.append(picture.read_bytes())
        holds(f"the picture {name} JavaScript is empty", len(pictures[-1]) > 20_000)
    holds("it looks otherwise without JavaScript", pictures[0] == pictures[1])


def prints(found, folder, page):
    file = Path(folder) / "page.pdf"
    chromium(found, folder, page, "--no-pdf-header-footer", f"--print-to-pdf={file}")
    document = file.read_bytes()
    holds("no PDF", document.startswith(b"%PDF-"))
    count = len(re.findall(rb"/Type\s*/Page\b", document))
    holds(f"{count} printed pages", 2 <= count <= 30)


def a_page_that_breaks_its_policy_is_noticed(found, folder, page):
    """Else an empty console would prove nothing: a style and a script that the policy does not know."""
    broken = Path(folder) / "broken.html"
    broken.write_text(page.read_text().replace("<main>", "<main><style>p { color: red }</style><script>alert(1)</script>"))
    _, said = chromium(found, folder, broken, "--dump-dom")
    holds(f"Chromium says nothing: {said[-500:]}", len(complaints(said)) >= 2)


PARTIES = (chromium_reads_pages,)
