# SPDX-License-Identifier: Apache-2.0
"""Names of invented people in many scripts, and the forms in which texts write them."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from typing import NamedTuple

_Pair = tuple[str, str]
_Writer = Callable[[str, str], str]


class WrittenName(NamedTuple):
    """A name as the header has it (PS3.5, 6.2.1), and as a text writes it.

    Attributes
    ----------
    form
        What is particular about the name or its spelling.
    header
        Person name of DICOM.
    text
        As written.
    words
        Words that must not remain of it, without diacritics and in lower case.
    """

    form: str
    header: str
    text: str
    words: frozenset[str]


def _pairs(text: str) -> list[_Pair]:
    return [(family, given) for family, given in (entry.split("^") for entry in text.split("|"))]


_COMMON = _pairs(
    "Kowalski^Jan|Rahman^Aisha|Fischer^Greta|Okafor^Chidi|Moreau^Luc|Santos^Beatriz|Novak^Petra|Haddad^Samir|Lindqvist^Elsa|"
    "Tanaka^Hiro"
)
_SHORT = _pairs("Li^Wu|Ng^An|Ma^Ed|Im^La|Xu^Bo|Yi^Fu|He^Yu|Al^Ty|Ho^Su|Pa^Mo")
_SINGLE_LETTER = _pairs("O^Mary|E^Kai|U^Thant|I^Ching|Y^Linh|A^Ming|O^Seung|E^Yuna|U^Nyein|I^Putu")
_APOSTROPHE = _pairs(
    "O'Brien^Mary|D'Arcy^Ann|N'Diaye^Awa|O'Hara^Tim|D'Souza^Neil|M'Bala^Jo|L'Hermite^Paul|O'Sullivan^Finn|Ka'ahumanu^Lani|"
    "Sa'ad^Omar"
)
_HYPHEN = _pairs(
    "Smith-Jones^Ann|Garcia-Lopez^Eva|Al-Rashid^Omar|Lloyd-Webber^Tom|Hamm-Bruecher^Ida|Nguyen-Tran^Mai|Bonham-Carter^Lily|"
    "Abdul-Jabbar^Karim|Day-Lewis^Max|Kim-Park^Jina"
)
_PARTICLE = _pairs(
    "van der Berg^Jan|de la Cruz^Maria|bin Ali^Hassan|binti Yusof^Siti|von Stein^Karl|dos Reis^Rui|di Marco^Gina|"
    "el Amrani^Nadia|ten Brink^Piet|le Goff^Yann"
)
_DIACRITICS = _pairs(
    "Müller^Jörg|Łukasik^Paweł|Đorđević^Živko|Øster^Søren|Çelik^Gül|Núñez^Íñigo|Šimek^Růžena|Ăncuța^Ștefan|Åkesson^Märta|"
    "Özdemir^Işıl"
)
_DICTIONARY_WORDS = _pairs(
    "Long^May|White^Hope|Head^Grace|Field^Ray|Stone^Iris|Young^Faith|Hand^Pearl|Short^Art|Bone^Rose|Small^Summer"
)
_CHINESE = _pairs("王^明|金^民|李^小龙|欧阳^娜娜|张^伟|陈^晓东|赵^敏|林^黛玉|何^勇|司马^光")
_KOREAN = _pairs("김^민|이^수현|박^지성|최^영|정^하나|강^동원|조^은|윤^서|남궁^민수|한^별")
_JAPANESE = [
    *("Yamada^Tarou=山田^太郎=やまだ^たろう", "Sato^Hanako=佐藤^花子=さとう^はなこ", "Mori^Ken=森^健=もり^けん"),
    *(
        "Abe^Yui=安部^結衣=あべ^ゆい",
        "Ito^Ran=伊藤^蘭=いとう^らん",
        "Ono^Yo=小野^洋=おの^よう",
        "Hara^Ai=原^愛=はら^あい",
    ),
    *("Oka^Jun=岡^純=おか^じゅん", "Seki^Mio=関^澪=せき^みお", "Nakamura^Aoi=中村^葵=なかむら^あおい"),
]
_VIETNAMESE = _pairs(
    "Nguyễn^Văn An|Trần^Thị Bé|Lê^Hồng Đào|Phạm^Minh Tú|Võ^Thị Sáu|Đặng^Thùy Trâm|Bùi^Xuân Phái|Hồ^Quý Ly|"
    "Ngô^Bảo Châu|Đỗ^Hữu"
)
_ARABIC = _pairs("الخطيب^ليلى|حداد^سمير|رحمن^عائشة|منصور^يوسف|صالح^مريم|عمر^علي|بكر^هند|زيد^نور|قاسم^رنا|طه^سلمى")
_CYRILLIC = _pairs(
    "Иванова^Анна|Петров^Олег|Шевченко^Юлия|Ли^Ян|Цой^Вера|Кузнецов^Пётр|Ким^Ир|Юн^Ева|Соловьёв^Илья|Жук^Ада"
)
_GREEK = _pairs(
    "Παπαδόπουλος^Νίκος|Δήμου^Ελένη|Ιωάννου^Άννα|Βασιλείου^Γιώργος|Ρήγας^Πέτρος|Λάμπρου^Ζωή|Κώστα^Ήρα|Νάκος^Αρης|Τζίμας^Λία|"
    "Ζέρβας^Φοίβος"
)
_THAI = _pairs("สมศรี^ใจดี|วงศ์^อรุณ|ทองดี^มานี|ศรีสุข^ปิติ|แก้ว^ชูใจ|บุญมี^สมชาย|จันทร์^วีระ|พรหม^เพชร|ดวง^ดาว|สุข^ใจ")
_HINDI = _pairs("शर्मा^राहुल|सिंह^प्रिया|वर्मा^अनिल|गुप्ता^मीना|राव^किरण|दास^ऋषि|जोशी^उमा|मिश्रा^दीपक|खान^सलमा|ओझा^ईशा")
_HEBREW = _pairs("כהן^דוד|לוי^שרה|מזרחי^נועה|פרץ^יעל|ביטון^משה|דהן^רות|אברהם^גל|פרידמן^תמר|שפירא^עדי|גולן^בר")


def _plain(text: str) -> str:
    """Without diacritics, in lower case."""
    text = text.casefold().translate({ord("đ"): "d", ord("ł"): "l", ord("ø"): "o", ord("ı"): "i", ord("æ"): "ae"})
    return "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))


def _expanded(text: str) -> str:
    for letter, letters in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("Ä", "Ae"), ("Ö", "Oe"), ("Ü", "Ue"), ("Ø", "Oe")):
        text = text.replace(letter, letters)
    return _without_diacritics(text)


def _without_diacritics(text: str) -> str:
    text = text.translate(str.maketrans("ĐđŁłØøı", "DdLlOoi"))
    return "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))


def _spaced(text: str, between: str) -> str:
    return between.join(text)


_FORMS: dict[str, tuple[list[_Pair], _Writer]] = {
    "as the header has it": (_COMMON, lambda family, given: f"{family}^{given}"),
    "given name first": (_COMMON, lambda family, given: f"{given} {family}"),
    "comma": (_COMMON, lambda family, given: f"{family}, {given}"),
    "capitals": (_COMMON, lambda family, given: f"{family} {given}".upper()),
    "small letters": (_COMMON, lambda family, given: f"{given} {family}".lower()),
    "family name alone": (_COMMON, lambda family, _: family),
    "possessive": (_COMMON, lambda family, _: f"{family}'s"),
    "one word": (_COMMON, lambda family, given: family + given),
    "underscore": (_COMMON, lambda family, given: f"{family}_{given}"),
    "initial": (_COMMON, lambda family, given: f"{given[0]}. {family}"),
    "spaced letters": (_COMMON, lambda family, _: _spaced(family, " ")),
    "dotted letters": (_COMMON, lambda family, _: _spaced(family, ".")),
    "title": (_COMMON, lambda family, _: f"Dr. {family}"),
    "digit after it": (_COMMON, lambda family, _: f"{family}2"),
    "zero for o": (_COMMON, lambda family, given: f"{given} {family}".replace("o", "0")),
    "full-width letters": (_COMMON, lambda family, _: "".join(chr(ord(letter) + 0xFEE0) for letter in family)),
    "zero-width space": (_COMMON, lambda family, given: f"{family[:2]}\u200b{family[2:]} {given}"),
    "two letters": (_SHORT, lambda family, given: f"{family}^{given}"),
    "two letters, given name first": (_SHORT, lambda family, given: f"{given} {family}"),
    "two letters, capitals": (_SHORT, lambda family, given: f"{family} {given}".upper()),
    "two letters, comma": (_SHORT, lambda family, given: f"{family}, {given}"),
    "two letters, one word": (_SHORT, lambda family, given: family + given.lower()),
    "two letters, digit after it": (_SHORT, lambda family, _: f"{family}1"),
    "two letters, spaced": (_SHORT, lambda family, _: _spaced(family.upper(), " ")),
    "one letter": (_SINGLE_LETTER, lambda family, given: f"{family}^{given}"),
    "one letter, given name first": (_SINGLE_LETTER, lambda family, given: f"{given} {family}"),
    "apostrophe": (_APOSTROPHE, lambda family, given: f"{family} {given}"),
    "curly apostrophe": (_APOSTROPHE, lambda family, _: family.replace("'", "’")),
    "apostrophe left out": (_APOSTROPHE, lambda family, _: family.replace("'", "")),
    "apostrophe, possessive": (_APOSTROPHE, lambda family, _: f"{family}'s".upper()),
    "hyphen": (_HYPHEN, lambda family, given: f"{family} {given}"),
    "hyphen left out": (_HYPHEN, lambda family, _: family.replace("-", " ")),
    "one half of a double name": (_HYPHEN, lambda family, _: family.split("-")[1]),
    "particles": (_PARTICLE, lambda family, given: f"{given} {family}"),
    "particles left out": (_PARTICLE, lambda family, _: family.split()[-1]),
    "diacritics": (_DIACRITICS, lambda family, given: f"{family} {given}"),
    "diacritics left out": (_DIACRITICS, lambda family, given: _without_diacritics(f"{given} {family}")),
    "diacritics apart": (_DIACRITICS, lambda family, _: unicodedata.normalize("NFD", family)),
    "diacritics as letters": (_DIACRITICS, lambda family, _: _expanded(family)),
    "dictionary words": (_DICTIONARY_WORDS, lambda family, given: f"{given} {family}"),
    "dictionary words, capitals": (_DICTIONARY_WORDS, lambda family, given: f"{family}^{given}".upper()),
    "Chinese": (_CHINESE, lambda family, given: family + given),
    "Chinese, spaced": (_CHINESE, lambda family, given: f"{family} {given}"),
    "Chinese, as the header has it": (_CHINESE, lambda family, given: f"{family}^{given}"),
    "Korean": (_KOREAN, lambda family, given: family + given),
    "Korean, spaced": (_KOREAN, lambda family, given: f"{family} {given}"),
    "Vietnamese": (_VIETNAMESE, lambda family, given: f"{family} {given}"),
    "Vietnamese, diacritics left out": (_VIETNAMESE, lambda family, given: _without_diacritics(f"{family} {given}")),
    "Arabic": (_ARABIC, lambda family, given: f"{given} {family}"),
    "Cyrillic": (_CYRILLIC, lambda family, given: f"{given} {family}"),
    "Greek": (_GREEK, lambda family, given: f"{given} {family}"),
    "Thai": (_THAI, lambda family, given: f"{family} {given}"),
    "Devanagari": (_HINDI, lambda family, given: f"{given} {family}"),
    "Hebrew": (_HEBREW, lambda family, given: f"{given} {family}"),
}


def written_names() -> Iterator[WrittenName]:
    """Every name in every form."""
    for form, (pairs, write) in _FORMS.items():
        for family, given in pairs:
            yield WrittenName(form, f"{family}^{given}", write(family, given), _words(f"{family} {given}"))
    for header in _JAPANESE:
        romaji, kanji, kana = (group.split("^") for group in header.split("="))
        words = _words(" ".join((*romaji, *kanji, *kana)))
        yield WrittenName("Japanese, kanji", header, "".join(kanji), words)
        yield WrittenName("Japanese, kana", header, " ".join(kana), words)
        yield WrittenName("Japanese, Latin letters", header, " ".join(reversed(romaji)), words)


def _words(name: str) -> frozenset[str]:
    return frozenset(_plain(part) for word in name.split() for part in (word, *word.replace("'", "-").split("-")))


def what_remains(text: str, words: frozenset[str]) -> set[str]:
    """The words of a name that a text still holds: as a word; anywhere if it has four letters or is not Latin."""
    plain = _plain(text)
    tokens = {token.strip(".,;:^()") for token in plain.replace("_", " ").replace("^", " ").split()}
    squeezed = "".join(letter for letter in plain if letter.isalnum())
    return {
        word
        for word in words
        if word in tokens
        or (len(word) > 3 and "".join(filter(str.isalnum, word)) in squeezed)
        or (not word.isascii() and word in plain)
    } - _SHARED


# Particles alone name nobody.
_SHARED = {
    "van",
    "der",
    "de",
    "la",
    "bin",
    "binti",
    "von",
    "dos",
    "di",
    "el",
    "ten",
    "le",
    "al",
    "d",
    "m",
    "n",
    "l",
    "o",
}
