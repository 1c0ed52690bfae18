"""Pages in a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

from away import away

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars",
)  # fmt: skip
MEASURE = """<script>addEventListener('load', () => {
  const wide = [...document.querySelectorAll('main *')].filter(e => {
    if (e.closest('.scroll') && !e.classList.contains('scroll')) return false;
    return e.getBoundingClientRect().right > innerWidth + 1;
  }).map(e => e.tagName + '.' + (e.getAttribute('class') || ''));
  document.title = 'measured ' + JSON.stringify({
    far: [...document.querySelectorAll('td.sign')].filter(
      e => e.getBoundingClientRect().right > innerWidth).map(e => e.textContent),
    page: document.documentElement.scrollWidth, window: innerWidth, wide: wide.slice(0, 5),
    errors: performance.getEntriesByType('resource').map(r => r.name),
  });
});</script>"""


def browser() -> str:
    """The browser's path.

    The suite must pass on a laptop without one, so there these tests skip and say so; `.ci/run`
    installs one, and under CI a missing one fails.
    """
    if CHROMIUM is None:
        away("no Chromium (apt-get install chromium)")
    return CHROMIUM


def measured(page: Path, width: int, scratch: Path) -> str:
    """What the page says of itself in a window of that width: a JSON text."""
    copy = scratch / f"measured-{width}.html"
    text = page.read_text(encoding="utf-8").replace("</body>", f"{MEASURE}</body>")
    copy.write_text(text, encoding="utf-8")
    # headless windows are at least 500 wide, so a narrow one is a frame inside
    frame = scratch / f"frame-{width}.html"
    frame.write_text(
        f"<body style='margin:0'><iframe src='{copy.name}' style='width:{width}px;height:900px;"
        "border:0'></iframe><script>setInterval(() => { const t = frames[0].document.title;"
        "if (t.startsWith('measured')) document.title = t; }, 20)</script>"
    )
    done = subprocess.run(
        [browser(), *FLAGS, f"--user-data-dir={scratch / 'profile'}", "--window-size=1400,1000",
         "--allow-file-access-from-files", "--virtual-time-budget=3000", "--dump-dom",
         frame.as_uri()],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    found = re.search(r"<title>measured (.*?)</title>", done.stdout)
    assert found, done.stdout[:500]
    return found[1]


def picture(
    page: Path, out: Path, width: int, height: int, profile: Path, *, dark: bool = False
) -> Path:
    """A screenshot of the top of a page."""
    mode = ["--blink-settings=preferredColorScheme=0"] if dark else []
    subprocess.run(
        [browser(), *FLAGS, *mode, f"--user-data-dir={profile}",
         f"--window-size={width},{height}", f"--screenshot={out}", page.as_uri()],
        capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    return out


def pdf_pages(page: Path, scratch: Path) -> int:
    """How many sheets a page is printed on."""
    out = scratch / "printed.pdf"
    subprocess.run(
        [browser(), *FLAGS, f"--user-data-dir={scratch / 'profile'}", "--no-pdf-header-footer",
         f"--print-to-pdf={out}", page.resolve().as_uri()],
        capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    data = out.read_bytes()
    assert data.startswith(b"%PDF-")
    return len(re.findall(rb"/Type\s*/Page\b", data))


class Reader(HTMLParser):
    """Collects what accessibility and self-containedness are judged by."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[tuple[str, str]] = []
        self.images: list[dict[str, str | None]] = []
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self._open = tag
        if tag == "svg":
            self.images.append(found)
        if "id" in found:
            self.ids.append(str(found["id"]))
        self.sources += [str(v) for k, v in attrs if k in ("src", "href") and v]

    def handle_data(self, data: str) -> None:
        if re.fullmatch(r"h[1-6]", self._open):
            self.headings.append((self._open, data))
        self._open = ""


def _parts(colour: str) -> list[int]:
    """Red, green and blue of #rgb or #rrggbb."""
    digits = colour.lstrip("#")
    digits = "".join(d * 2 for d in digits) if len(digits) == 3 else digits
    return [int(digits[i : i + 2], 16) for i in (0, 2, 4)]


def luminance(colour: str) -> float:
    """Relative luminance of #rgb or #rrggbb (WCAG 2.2)."""
    parts = [part / 255 for part in _parts(colour)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: float, other: float) -> float:
    """Of two luminances (WCAG 2.2): 1 to 21."""
    dark, light = sorted((one, other))
    return (light + 0.05) / (dark + 0.05)


def mixed(over: str, under: str, share: float) -> str:
    """The colour that is seen where that share of one #rrggbb lies over another, as #rrggbb."""
    pairs = zip(_parts(over), _parts(under), strict=True)
    parts = [round(share * a + (1 - share) * b) for a, b in pairs]
    return "#" + "".join(f"{part:02x}" for part in parts)
