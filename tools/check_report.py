"""Looks at a page of `panq report` in headless Chromium: light, dark, as wide as a phone, and printed.

    python3 tools/check_report.py CHROMIUM PAGE FOLDER

FOLDER receives pictures for people.  What is checked: nothing is requested but the page, no script runs, no message is
logged, nothing is wider than the screen, texts can be read against what is behind them, clicks open replies, and the box
hides what does not differ.  The last line says "N passed, N failed".
"""
import base64
import json
import os
import subprocess
import sys

# Contrast of every visible text with the nearest background, by WCAG 2.1; the lowest of them.
CONTRAST = """(() => {
  const light = c => { c = c.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2]; };
  let least = [99, ''];
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()) || !e.getClientRects().length) continue;
    const svg = e.namespaceURI.includes('svg');
    if (svg && e.tagName == 'title') continue;
    let b = e, back;
    do { back = getComputedStyle(b).backgroundColor; b = b.parentElement; } while (b && /, 0\\)|transparent/.test(back));
    const a = light(getComputedStyle(e)[svg ? 'fill' : 'color']), z = light(back);
    const ratio = (Math.max(a, z) + 0.05) / (Math.min(a, z) + 0.05);
    if (ratio < least[0]) least = [ratio, e.tagName + '.' + e.className + ': ' + e.textContent.slice(0, 40)];
  }
  return JSON.stringify(least); })()"""


class Browser:
    """Chromium over the two pipes of its debugging protocol."""

    def __init__(self, program):
        their_in, self.out = os.pipe()
        self.inp, their_out = os.pipe()

        def move():
            copies = os.dup(their_in), os.dup(their_out)
            os.dup2(copies[0], 3)
            os.dup2(copies[1], 4)

        self.process = subprocess.Popen([program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                                         "--remote-debugging-pipe", "about:blank"], preexec_fn=move, close_fds=False,
                                        stderr=subprocess.DEVNULL)
        os.close(their_in)
        os.close(their_out)
        self.number, self.rest, self.session, self.events = 0, b"", None, []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in "Page", "Network", "Log", "Runtime":
            self.ask(domain + ".enable")

    def message(self):
        while b"\0" not in self.rest:
            more = os.read(self.inp, 1 << 20)
            if not more:
                raise SystemExit("the browser ended")
            self.rest += more
        line, self.rest = self.rest.split(b"\0", 1)
        return json.loads(line)

    def ask(self, method, **params):
        self.number += 1
        request = {"id": self.number, "method": method, "params": params}
        if self.session:
            request["sessionId"] = self.session
        os.write(self.out, json.dumps(request).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise SystemExit(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def wait(self, method):
        while not any(e.get("method") == method for e in self.events):
            self.events.append(self.message())

    def run(self, expression):
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def show(self, page, width, scheme, media=""):
        self.events = []
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
        self.ask("Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.ask("Page.navigate", url="file://" + os.path.abspath(page))
        self.wait("Page.loadEventFired")

    def picture(self, path):
        data = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        with open(path, "wb") as f:
            f.write(base64.b64decode(data))


def main():
    program, page, folder = sys.argv[1:]
    browser, counts = Browser(program), [0, 0]

    def ok(good, name, more=""):
        counts[not good] += 1
        print(("ok - " if good else "not ok - ") + name + (f" ({more})" if more and not good else ""))

    def events(method):
        return [e["params"] for e in browser.events if e.get("method") == method]

    for name, width, scheme in ("light", 1280, "light"), ("dark", 1280, "dark"), ("phone", 390, "light"), ("phone-dark", 360, "dark"):
        browser.show(page, width, scheme)
        title = browser.run("document.title")
        browser.picture(f"{folder}/{name}.png")
        asked = [e["request"]["url"] for e in events("Network.requestWillBeSent")]
        ok(len(asked) == 1, f"{name}: nothing is requested but the page", str(asked))
        ok(browser.run("document.scripts.length") == 0, f"{name}: no script")
        # Every reply open, so that whatever it has is shown.
        browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
        browser.run("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")
        wide = browser.run("document.documentElement.scrollWidth")
        ok(wide <= width, f"{name}: no wider than the screen", f"{wide} of {width}")
        least, where = json.loads(browser.run(CONTRAST))
        ok(least >= 4.5, f"{name}: every text has a contrast of 4.5", f"{least:.2f} at {where}")
        ok(browser.run("document.title") == title and "owned" not in title, f"{name}: the title is its own", title)
        logged = events("Log.entryAdded") + events("Runtime.exceptionThrown")
        ok(not logged, f"{name}: nothing is logged", str(logged)[:200])
        empty = browser.run("[...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().height < 40).length")
        ok(empty == 0 and browser.run("document.querySelectorAll('svg').length") > 2, f"{name}: plots are there")
        outside = browser.run("""[...document.querySelectorAll('svg text')].filter(t => { const a = t.getBoundingClientRect(),
            b = t.closest('svg').getBoundingClientRect(); return a.left < b.left - 1 || a.right > b.right + 1; }).length""")
        ok(outside == 0, f"{name}: no label leaves its plot", str(outside))
    browser.show(page, 1280, "light")
    shown = "[...document.querySelectorAll('.tasks>details')].filter(d => d.getClientRects().length).length"
    all_of_them = browser.run(shown)
    browser.run("document.querySelector('.only').click()")
    ok(0 < browser.run(shown) < all_of_them, "the box hides what does not differ", f"{browser.run(shown)} of {all_of_them}")
    browser.run("document.querySelector('.flip summary').click()")
    ok(browser.run("document.querySelector('.flip').open && document.querySelector('.flip pre').getClientRects().length > 0"),
       "a click opens a task")
    pdf = base64.b64decode(browser.ask("Page.printToPDF")["data"])
    with open(f"{folder}/printed.pdf", "wb") as f:
        f.write(pdf)
    ok(pdf.startswith(b"%PDF") and len(pdf) > 10000, "it can be printed")
    # As wide as A4 between Chromium's margins, out of a dark browser.
    browser.show(page, 716, "dark", "print")
    browser.picture(f"{folder}/printed.png")
    wide = browser.run("document.documentElement.scrollWidth")
    ok(wide <= 716, "printed: no wider than the paper", str(wide))
    least, where = json.loads(browser.run(CONTRAST))
    ok(least >= 4.5, "printed: dark on white", f"{least:.2f} at {where}")
    browser.process.kill()
    print(f"{counts[0]} passed, {counts[1]} failed")
    sys.exit(counts[1] > 0)


main()
