# ruff: noqa: RUF001 - letters that look like others are what this is about
"""Lines in many scripts, and lines that nobody writes, for tests of tokenizers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

# The first article of the Universal Declaration of Human Rights, or its beginning.
ARTICLE = (
    "All human beings are born free and equal in dignity and rights.",
    "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "Todos los seres humanos nacen libres e iguales en dignidad y derechos.",
    "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền lợi.",
    "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar.",
    "Všichni lidé rodí se svobodní a sobě rovní co do důstojnosti a práv.",
    "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw.",
    "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "Всі люди народжуються вільними і рівними у своїй гідності та правах.",
    "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.",
    "يولد جميع الناس أحراراً متساوين في الكرامة والحقوق.",
    "تمام انسان‌ها آزاد به دنیا می‌آیند و از لحاظ حیثیت و حقوق با هم برابرند.",
    "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם.",
    "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
    "সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা এবং অধিকার নিয়ে জন্মগ্রহণ করে।",
    "மனிதப் பிறவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்.",
    "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "人人生而自由，在尊严和权利上一律平等。",
    "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "Բոլոր մարդիկ ծնվում են ազատ ու հավասար իրենց արժանապատվությամբ ու իրավունքներով։",
    "ყველა ადამიანი იბადება თავისუფალი და თანასწორი თავისი ღირსებითა და უფლებებით.",
    "የሰው ልጅ ሁሉ ሲወለድ ነጻና በክብርና በመብትም እኩልነት ያለው ነው።",
)
_SCRIPTS = (
    *((0x41, 0x7B), (0xC0, 0x250), (0x1E00, 0x1F00)),  # Latin
    *((0x370, 0x400), (0x400, 0x530), (0x531, 0x588)),  # Greek, Cyrillic, Armenian
    *((0x591, 0x5F5), (0x600, 0x700), (0x900, 0x980)),  # Hebrew, Arabic, Devanagari
    *((0x0E01, 0x0E5C), (0x1100, 0x1200), (0x3041, 0x3100)),  # Thai, jamo, kana
    *((0x4E00, 0x5000), (0xAC00, 0xAD00), (0xF900, 0xFA6E)),  # ideographs, Hangul, compatibility
    *((0x10A0, 0x1100), (0x1F00, 0x2000), (0x20000, 0x20100)),
)
_MARKS = (*range(0x300, 0x370), *range(0x591, 0x5BE), *range(0x64B, 0x660), 0x93C, 0x94D, 0x20E3)
_SPACES = " \t\n\r\v\f\x1c\x85\xa0\u1680\u2003\u200b\u2028\u2029\u202f\u3000\ufeff"
_FACES = "😀👩👨👧🔬❤👍🏿🏳🌈🇩🇪🇺🇳⚕✈⌨①Ⅻ½²٣९"
_CODE = (
    "for (int i = 0; i < n; ++i) { x[i] += 0x1F * y[i]; }",
    "\tif x is None:\n\t\treturn {'a': [1, 2.5e-3]}  # why?",
    "SELECT * FROM t WHERE id>=10 AND name LIKE '%x%';",
    "<div class=\"a\">it's &amp; we'll, THEY'RE I'D</div>",
    "https://example.org/a?b=c&d=%20#e 192.168.0.1 2026-11-30T12:34:56Z",
    "don't DON'T doN’T he'ſ 'ſ 'K we'VE 'll''re'",
)
_SPECIAL = ("<|endoftext|>", "<|endof", "<s>", "</s>", "[INST]", "<mask>", "<0x41>", "▁a▁▁b")


def lines(count: int, seed: int) -> list[str]:
    """Return so many texts: real ones first, then made ones; the same seed gives the same."""
    real = [*ARTICLE, *_CODE, "", " ", *(path.read_text() for path in (ROOT / "README.md",))]
    real += [line for line in (ROOT / "LICENSE").read_text().splitlines() if line][:40]
    return [*real, *_made(random.Random(seed), max(0, count - len(real)))][:count]


def _made(rng: random.Random, count: int) -> Iterator[str]:
    kinds: tuple[Callable[[random.Random], str], ...] = (
        *(_word, _word, _word, _spaces, _accented, _faces, _number, _anything, _signs, _control),
        *(lambda r: r.choice(_CODE), lambda r: r.choice(_SPECIAL), lambda r: r.choice(ARTICLE)),
    )
    for _ in range(count):
        parts = [rng.choice(kinds)(rng) for _ in range(rng.randint(1, 9))]
        yield rng.choice(("", " ", " ", "  ")).join(parts)


def _some(rng: random.Random, choose: Callable[[], int | str], most: int) -> str:
    found = (choose() for _ in range(rng.randint(1, most)))
    return "".join(chr(one) if isinstance(one, int) else one for one in found)


def _word(rng: random.Random) -> str:
    low, high = rng.choice(_SCRIPTS)
    return _some(rng, lambda: rng.randrange(low, high), 8)


def _spaces(rng: random.Random) -> str:
    if rng.random() < 0.4:
        return " " * rng.randint(1, 30)
    return _some(rng, lambda: rng.choice(_SPACES), 6)


def _accented(rng: random.Random) -> str:
    def letter() -> str:
        return rng.choice("aeiouAעकاnกが가") + _some(rng, lambda: rng.choice(_MARKS), 4)

    return _some(rng, letter, 4)


def _faces(rng: random.Random) -> str:
    return _some(rng, lambda: rng.choice(_FACES) + rng.choice(("", "", "\u200d", "\ufe0f")), 6)


def _number(rng: random.Random) -> str:
    return rng.choice(("{:,}", "{}", "{:.3f}", "{:x}", "-{}")).format(rng.randrange(10**9))


def _anything(rng: random.Random) -> str:
    """Any characters of Unicode, assigned or not, but for surrogates."""
    codes = (*range(1, 0xD800, 7), *range(0xE000, 0x110000, 211))
    return _some(rng, lambda: rng.choice(codes), 5)


def _signs(rng: random.Random) -> str:
    return _some(rng, lambda: rng.choice("'\"`!?.,;:()[]{}<>|/\\@#$%^&*-_=+~«»…—¿।、。・٪₿№"), 6)


def _control(rng: random.Random) -> str:
    return _some(rng, lambda: rng.choice((0, 1, 7, 8, 0x1B, 0x7F, 0x80, 0x9F, 0xAD, 0x202E)), 3)
