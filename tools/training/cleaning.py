"""Books and pages of documentation as clean paragraphs of English."""

import html
import re
import unicodedata

STOPWORDS = set(
    "the of and to in a that is was it for as with his he be on not by but at which this have had "  # noqa: SIM905
    "from or are her she you they an were my me all so one their".split()
)
QUOTES = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u2014": "--",
        "\u2013": "-",
        "\u2026": "...",
        "\u00a0": " ",
        "\u00ad": "",
        "\ufeff": "",
        "\u2012": "-",
        "\u2015": "--",
        "\u201b": "'",
        "\u2032": "'",
        "\u2033": '"',
        "\u00b6": "",
        "\u2009": " ",
        "\u200b": "",
    }
)
PG_START = re.compile(
    r"^\W*(START OF (THIS|THE) PROJECT GUTENBERG|END.?THE SMALL PRINT)[^\n]*\n", re.M
)
PG_END = re.compile(
    r"^\W*(END OF (THIS |THE )?PROJECT GUTENBERG|END OF (THE|THIS) ETEXT)", re.M | re.I
)
PG_PARA = re.compile(
    r"gutenberg|produced by|transcrib|e-?text|proofread|\bebook|archive\.org|html version", re.I
)
BOILER = re.compile(
    r"project gutenberg|gutenberg-tm|\bpglaf\b|transcriber's note|distributed proofread", re.I
)


def decode(raw):
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def tidy(text):
    """Normalise Unicode, quotes and white space inside one paragraph; keep line ends."""
    text = unicodedata.normalize("NFC", text).translate(QUOTES)
    text = re.sub(r"\[(Illustration|Footnote|Sidenote|Pg|Page)[^\]]{0,200}\]", "", text, flags=re.I)
    text = re.sub(r"\[\d{1,4}\]|\{\d{1,4}\}", "", text)
    text = re.sub(r"[_*]{1,3}(?=\S)|(?<=\S)[_*]{1,3}(?!\w)", "", text)
    return re.sub(r"[ \t]+", " ", text).strip()


def paragraphs(text):
    """Split on blank lines and undo hard wrapping; verse (short lines) keeps its line ends."""
    for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n").replace("\r", "\n")):
        lines = [ln.strip() for ln in block.split("\n") if ln.strip()]
        if not lines:
            continue
        full = lines[:-1]
        wrapped = full and sum(len(ln) for ln in full) / len(full) > 50
        para = tidy(" ".join(lines) if wrapped or len(lines) == 1 else "\n".join(lines))
        if para and re.search(r"\w", para):
            yield para


def book_text(kind, raw):
    if kind == "tei":
        from lxml import etree

        root = etree.fromstring(raw, etree.XMLParser(recover=True, huge_tree=True))
        body = root.find(".//{*}body")
        paras = []
        for el in body.iter("{*}p", "{*}head", "{*}l") if body is not None else ():
            para = tidy(" ".join("".join(el.itertext()).split()))
            if para:
                paras.append(para)
        return "\n\n".join(paras)
    text = decode(raw)
    if kind == "md":
        text = re.sub(r"\A.{0,600}?^-{5,}\s*$", "", text, count=1, flags=re.S | re.M)
        text = html.unescape(re.sub(r"^#+ *", "", re.sub(r"<[^>\n]{1,80}>", "", text), flags=re.M))
    starts = list(PG_START.finditer(text, 0, 40000))
    if starts:
        text = text[starts[-1].end() :]
    end = PG_END.search(text, len(text) // 2)
    if end:
        text = text[: end.start()]
    paras, seen = [], 0
    for para in paragraphs(text):
        seen += len(para)
        if (seen < 6000 and PG_PARA.search(para)) or BOILER.search(para):
            continue
        paras.append(para)
    return "\n\n".join(paras)


def doc_paragraphs(path):
    raw = path.read_bytes()
    if path.suffix == ".pod":
        for para in re.split(r"\n\s*\n", decode(raw)):
            if para.startswith(
                (" ", "\t", "=begin", "=for", "=cut", "=over", "=back", "=encoding", "=pod", "=end")
            ):
                continue
            para = re.sub(r"^=\w+\s*", "", para)
            for _ in range(3):
                para = re.sub(r"[IBCFLSXZE]<+ ?([^<>]*?) ?>+", r"\1", para)
            yield tidy(" ".join(para.split()))
        return
    from lxml import etree
    from lxml import html as lx

    try:
        if path.suffix in (".page", ".xml"):
            root = etree.fromstring(raw, etree.XMLParser(recover=True))
            for el in root.iter("{*}p", "{*}title"):
                yield tidy(" ".join("".join(el.itertext()).split()))
            return
        root = lx.fromstring(decode(raw).encode("utf-8"), parser=lx.HTMLParser(encoding="utf-8"))
    except Exception:
        return
    for bad in root.xpath(
        "//script|//style|//nav|//header|//footer|//pre|//form|//noscript|//select|//button|//svg|"
        "//*[contains(@class,'sidebar') or contains(@class,'navbar')"
        " or contains(@class,'headerlink')"
        " or contains(@class,'toctree') or contains(@class,'highlight') or @role='navigation']"
    ):
        parent = bad.getparent()
        if parent is not None:
            bad.drop_tree()
    main = root.xpath(
        "//main|//*[@role='main']|//article|//div[@id='page-content']|//div[@class='document']"
    )
    for el in (main[0] if main else root).iter("p", "h1", "h2", "h3", "h4", "li", "dd", "dt"):
        if el.tag in ("li", "dd") and el.xpath(".//p|.//ul|.//ol|.//dl|.//div"):
            continue
        yield tidy(" ".join(el.text_content().split()))


def english(text):
    words = re.findall(r"[a-z]+", text[:200000].lower())
    return len(words) > 60 and sum(w in STOPWORDS for w in words) / len(words) > 0.28
