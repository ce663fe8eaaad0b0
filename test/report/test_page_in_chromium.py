"""The page as a browser shows it."""

import html
import json
import re
import shutil
import subprocess

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium; install the Debian package chromium")

# Runs before the page: errors are gathered from the first script on. When all media have loaded, or failed to, what was
# found goes into the document, which --dump-dom prints.
PROBE = """<script>
const errors = [];
addEventListener("error", event => errors.push(event.message || `${event.target.tagName} failed`), true);
addEventListener("unhandledrejection", event => errors.push(String(event.reason)));
console.error = (...words) => errors.push(words.join(" "));
addEventListener("securitypolicyviolation", event => errors.push(`blocked: ${event.blockedURI}`));
addEventListener("DOMContentLoaded", async () => {
  const sounds = [...document.querySelectorAll("audio")], images = [...document.querySelectorAll("img")];
  const late = milliseconds => new Promise(done => setTimeout(done, milliseconds));
  await Promise.race([late(20000), Promise.all([
    ...sounds.map(sound => new Promise(done => {
      if (sound.readyState > 0) return done();
      sound.onloadedmetadata = sound.onerror = done;
      sound.load();
    })),
    ...images.map(image => image.decode().catch(problem => errors.push(String(problem))))])]);
  const result = document.createElement("pre");
  result.id = "probe";
  result.textContent = JSON.stringify({
    errors, seconds: sounds.map(sound => sound.duration), widths: images.map(image => image.naturalWidth),
    sections: [...document.querySelectorAll("section")].map(section => section.getBoundingClientRect().height),
    overflow: document.documentElement.scrollWidth - innerWidth});
  document.body.append(result);
});
</script>"""


def browse(folder, text: str, size: str = "1400,1000") -> dict:
    """What the probe found on the page `text`."""
    page = folder / "probed.html"
    page.write_text(text.replace("<head>", "<head>" + PROBE, 1), encoding="utf-8")
    shown = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
         f"--user-data-dir={folder / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND", f"--window-size={size}",
         "--virtual-time-budget=30000", "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=600)
    found = re.search(r'<pre id="probe">(.*?)</pre>', shown.stdout, re.DOTALL)
    assert found, f"the probe left nothing; chromium said {shown.stderr[-2000:]}"
    return json.loads(html.unescape(found[1]))


def test_probe_sees(tmp_path):
    """A sound that is none, an image that is none and a script that fails are all noticed."""
    found = browse(tmp_path, "<!DOCTYPE html><html><head></head><body><audio src='data:audio/flac;base64,AAAA'></audio>"
                             "<img src='data:image/png;base64,AAAA'><script>undefined.x</script></body></html>")
    assert found["seconds"] == [None] and found["widths"] == [0]
    assert any("undefined" in error for error in found["errors"]) and len(found["errors"]) >= 3


@pytest.mark.parametrize("size", ["1400,1000", "500,900"])
def test_the_page_loads(page, tmp_path, size):
    found = browse(tmp_path, page, size)
    assert found["errors"] == []
    assert len(found["seconds"]) == 18 and all(0.3 < seconds < 10.1 for seconds in found["seconds"])
    assert len(found["widths"]) == 6 and all(width > 100 for width in found["widths"])
    assert all(height > 50 for height in found["sections"])
    assert found["overflow"] <= 0, "the page scrolls sideways"


def test_compressed_clips_play_too(undrawn, report, tmp_path, monkeypatch):
    from speechrep.report import listen
    monkeypatch.setattr(listen.load, "__defaults__", (1000,))
    text = report()
    assert "data:audio/mpeg" in text
    found = browse(tmp_path, text)
    assert len(found["seconds"]) == 18 and all(0.3 < seconds < 10.5 for seconds in found["seconds"])
