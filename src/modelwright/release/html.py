"""The few pieces of HTML that every page of a report is made of."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def table(head: Sequence[str], rows: Sequence[str], *, stacked: bool = False) -> str:
    """A table that scrolls by itself; `rows` are finished `<tr>` elements. `stacked`: on a phone
    the cells of a row stand below each other, for texts that nobody should have to swipe for."""
    kind = " class='stack'" if stacked else ""
    cells = "".join(f"<th scope='col'>{escape(name)}</th>" for name in head)
    inside = f"<thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f"<div class='scroll' tabindex='0'><table{kind}>{inside}</table></div>"


def reasons(why: str, advice: str) -> str:
    """Why, and on a line of its own what to do.

    Example:
        >>> reasons("a < b", "set fit.budget")
        'a &lt; b<br>&rarr; set fit.budget'
    """
    return "<br>".join(filter(None, (escape(why), advice and f"&rarr; {escape(advice)}")))


def anchor(name: str) -> str:
    """The id of a section.

    Example:
        >>> anchor("Weak slices")
        'weak-slices'
    """
    return name.lower().replace(" ", "-")


def contents(parts: Sequence[tuple[str, str]], what: str) -> str:
    """Links to all parts, then the parts: each a name and finished HTML; `what` they are parts
    of."""
    links = "".join(f"<li><a href='#{anchor(name)}'>{name}</a></li>" for name, _ in parts)
    body = "".join(
        f"<section id='{anchor(name)}'><h2>{name}</h2>{content}</section>"
        for name, content in parts
    )
    return f"<nav aria-label='Parts of this {what}'><ul>{links}</ul></nav>{body}"


def page(title: str, body: str, *, wide: bool = False) -> str:
    """A whole document; `body` is finished HTML. `wide`: uses more of a large screen."""
    kind = " class='wide'" if wide else ""
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main{kind}>"
        f"{body}</main></body></html>\n"
    )


STYLE = """
:root{color-scheme:light dark;--ink:#1c2126;--soft:#5b6670;--page:#fff;--rule:#dde2e7;
--good:#17724a;--bad:#b3261e;--open:#8a5a00;--chosen:#eef5f0;--bar:#507594}
@media (prefers-color-scheme:dark){:root{--ink:#e7ebee;--soft:#9aa7b2;--page:#14181c;--rule:#2c343b;
--good:#5fcf9a;--bad:#ff8a80;--open:#f2c464;--chosen:#1b2a22;--bar:#86aecf}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);
font:16px/1.5 system-ui,sans-serif}main{max-width:1100px;margin:0 auto;padding:32px 20px 64px}
main.wide{max-width:1760px}
h1{font-size:1.7rem;line-height:1.25;margin:.2em 0 1em;border-left:6px solid;padding-left:16px}
h2{font-size:1.15rem;margin:2.2em 0 .6em}h3{font-size:1rem;margin:1.4em 0 .4em}
.eyebrow{color:var(--soft);margin:0}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.92rem}
th,td{text-align:left;padding:6px 12px 6px 0;border-bottom:1px solid var(--rule);vertical-align:top}
thead th{color:var(--soft);font-weight:500}tbody th{font-weight:600;min-width:8em}
th,td{overflow-wrap:break-word}.why{min-width:18em}.sign,.short{white-space:nowrap}
h1.pass,.pass{color:var(--good)}h1.fail,.fail,.error{color:var(--bad)}
h1.undecided,.undecided,.warning{color:var(--open)}.info{color:var(--soft)}
.any{overflow-wrap:anywhere}.headed td{border:0;padding-bottom:0;white-space:nowrap}
.headed td:nth-child(2){white-space:normal;min-width:9em}.about td{color:var(--soft);padding-top:0}
tr.chosen{background:var(--chosen)}
.rail{fill:var(--rule)}.line{fill:var(--ink)}.span{fill:currentColor}.bar{fill:var(--bar)}
.plot{width:100%;max-width:760px;display:block;margin:1em 0 0}.plot text{fill:var(--soft);
font-size:12px}.axis{fill:none;stroke:var(--rule)}.front{fill:none;stroke:var(--bar);
stroke-width:1.5}.dot{fill:var(--bar);stroke:var(--page)}.dot.chosen{fill:var(--good)}
.dot.guess{fill:var(--page);stroke:var(--bar);stroke-width:1.5}
.dot.fail{fill:var(--page);stroke:var(--bad);stroke-width:2}.limit{stroke:var(--ink);
stroke-dasharray:4 3}.key{color:var(--soft);font-size:.88rem;margin:.2em 0 1.4em}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,320px),1fr));gap:20px}
.figures>*{max-width:560px;min-width:0}figure{margin:0}
figure svg{width:100%;height:auto;display:block}figure text{fill:var(--soft);
font-size:12px}figcaption{font-size:.92rem}.grid{stroke:var(--rule);fill:none}
.band{fill:var(--bar);opacity:.22}.dash1{stroke-dasharray:6 3}.dash2{stroke-dasharray:2 3}
.dash3{stroke-dasharray:8 3 2 3}.now{fill:none;stroke:var(--ink);stroke-width:1.8}
.then{fill:var(--bar);opacity:.35}.levels svg{width:84px;height:16px;display:block}
.levels th,.levels td{padding-right:8px}.levels td{white-space:nowrap}.levels tbody th{
min-width:6em;overflow-wrap:anywhere}.rail-svg{width:200px;height:18px;display:block}
.confusion{width:auto}.cell{background:color-mix(in srgb,var(--bar) calc(var(--share)*55%),
transparent);padding:8px 14px}.cell small{color:inherit}caption{text-align:left;color:var(--soft);
font-size:.88rem;padding-bottom:4px}details{border-bottom:1px solid var(--rule);padding:8px 0}
summary{cursor:pointer}nav ul{display:flex;flex-wrap:wrap;gap:4px 16px;list-style:none;padding:0;
margin:0;font-size:.92rem}a{color:var(--bar)}:focus-visible{outline:2px solid var(--bar);
outline-offset:2px}.columns{display:grid;grid-template-columns:1fr 1fr;gap:32px}
.columns>*{min-width:0}@media (max-width:1000px){.columns{grid-template-columns:1fr}}
h1,h2,h3,p,li,summary,figcaption{overflow-wrap:anywhere}
@media (max-width:640px){.stack thead{position:absolute;clip-path:inset(50%);height:1px;
overflow:hidden}.stack tr{display:block;border-bottom:1px solid var(--rule);padding:8px 0}
.stack th,.stack td{display:block;border:0;padding:0 0 3px}.stack td:empty{display:none}
.stack .wanted::before{content:'wanted: ';color:var(--soft)}table:not(.stack) .rail-svg{width:110px}
.plot text{font-size:15px}.plot .dot{transform:scale(1.4);transform-box:fill-box;
transform-origin:center}}
code{font-size:.88em;overflow-wrap:anywhere}
@media print{main{padding:0}.scroll{overflow:visible}nav{display:none}section{break-inside:auto}
figure,tr{break-inside:avoid}}
""".replace("\n", "")
