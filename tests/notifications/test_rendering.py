"""Messages as they are written: in every language, escaped for where they are read, whole or not at all."""

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from souk.notifications.rendering import Recipient, Told, find_link, render_letter, render_short
from souk.notifications.settings import settings
from souk.notifications.topics import KINDS
from souk.notifications.wording import Unrenderable, find_phrases, forms, known_languages, read_language

ADA = Recipient("en", "UTC", "Ada")
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\r\nBcc: all@example.com"


@pytest.fixture(autouse=True)
def settings_as_they_were() -> Iterator[None]:
    before = settings.now
    yield
    settings.replace(language=before.language, templates=before.templates)


class Seen(HTMLParser):
    """The tags and attributes that a browser sees."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.root: dict[str, str | None] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name == "href"]
        if tag == "html":
            self.root = dict(attrs)


def look_at(html: str) -> Seen:
    seen = Seen()
    seen.feed(html)
    return seen


def test_every_kind_has_a_form() -> None:
    assert forms().keys() == KINDS.keys()
    assert {"de", "en"} <= set(known_languages())


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_in_every_language(kind: str, language: str) -> None:
    content = forms()[kind].sample
    reader = Recipient(language, "Europe/Berlin", "Ada")
    letter = render_letter([Told(kind, content)], reader, "https://shop.example/u/1")
    assert letter.subject
    assert "\n" not in letter.subject
    assert "Ada" in letter.text
    assert "{{" not in letter.html + letter.text + letter.subject
    assert "https://shop.example/u/1" in letter.text
    assert "https://shop.example/u/1" in look_at(letter.html).links
    assert look_at(letter.html).root["lang"] == language
    assert render_short(kind, language, content)
    for name in content:
        with pytest.raises(Unrenderable, match=name):
            render_letter([Told(kind, {key: value for key, value in content.items() if key != name})], reader)


def test_languages_say_different_things() -> None:
    same = [
        kind for kind in KINDS
        if kind not in ("campaign", "announcement")
        and render_short(kind, "en", forms()[kind].sample) == render_short(kind, "de", forms()[kind].sample)
    ]  # fmt: skip
    assert same == []


def test_amounts_are_written_as_the_reader_writes_them() -> None:
    content = {"amount": {"amount": 1290050, "currency": "EUR"}}
    assert "€12,900.50" in render_short("wallet_credited", "en", content)
    assert "€ 12.900,50" in render_letter([Told("wallet_credited", content)], Recipient("de-AT")).text
    yen = {"amount": {"amount": 5000, "currency": "JPY"}}
    assert "¥5,000" in render_letter([Told("wallet_credited", yen)], ADA).text


@pytest.mark.parametrize(("asked", "given"), [("de-AT", "de"), ("de", "de"), ("fr", "de"), ("xx-Latn-YY", "de")])
def test_a_language_that_has_no_words_falls_back(asked: str, given: str) -> None:
    settings.replace(language="de")
    letter = render_letter([Told("welcome", {})], Recipient(asked))
    assert look_at(letter.html).root["lang"] == given


def test_a_shop_language_without_words_falls_back_to_english() -> None:
    settings.replace(language="fi")
    assert look_at(render_letter([Told("welcome", {})], Recipient("fr")).html).root["lang"] == "en"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("verify_email", "reset_password")])
def test_nothing_that_is_filled_in_becomes_markup_or_a_header(kind: str) -> None:
    plain = {name: value if isinstance(value, dict | list | int) else EVIL for name, value in forms()[kind].sample.items()}
    if "items" in plain:
        plain["items"] = [{"name": EVIL, "quantity": 1}]
    letter = render_letter([Told(kind, plain)], Recipient("en", "UTC", EVIL))
    clean = look_at(render_letter([Told(kind, forms()[kind].sample)], ADA).html)
    seen = look_at(letter.html)
    assert seen.tags == clean.tags
    assert seen.attributes == clean.attributes
    assert "\n" not in letter.subject
    assert "\r" not in letter.subject
    assert "\r" not in letter.text
    assert not [link for link in seen.links if "<" in link or '"' in link or link.startswith("javascript")]
    assert "\n" not in render_short(kind, "en", plain)


def test_a_name_that_is_a_template_is_text() -> None:
    letter = render_letter([Told("seller_stock_low", {"sku": "{{ 7 * 7 }}{% for", "available": 1})], Recipient("en", "UTC", "{{ shop }}"))
    assert "{{ 7 * 7 }}{% for" in letter.text
    assert "Hello {{ shop }}" in letter.text


@pytest.mark.parametrize("path", ["https://evil.example", "//evil.example", "@evil.example", "javascript:alert(1)"])
def test_a_link_stays_in_the_shop(path: str) -> None:
    with pytest.raises(Unrenderable, match="leaves the shop"):
        find_link("campaign", {"subject": "x", "text": "y", "path": path})
    assert find_link("campaign", {"subject": "x", "text": "y", "path": "/shop?sale=1"}) == "/shop?sale=1"


@pytest.mark.parametrize("path", ["/shop/c++", "/search?q=wool+socks", "/search?q=a%2Bb&sort=-price#top"])
def test_a_link_says_what_its_writer_wrote(path: str) -> None:
    assert find_link("campaign", {"subject": "x", "text": "y", "path": path}) == path


def test_languages_that_nobody_has_words_for_are_not_kept_for_ever() -> None:
    for number in range(3_000):
        find_phrases(f"x{number}")
    assert read_language.cache_info().currsize <= 1_000
    assert find_link("campaign", {"subject": "x", "text": "y"}) is None


def test_what_is_larger_than_a_megabyte_is_not_sent() -> None:
    with pytest.raises(Unrenderable, match="megabyte"):
        render_letter([Told("campaign", {"subject": "x", "text": "long " * 200_000})], ADA)


def test_a_variable_that_is_nothing_blocks_as_one_that_is_missing_does() -> None:
    with pytest.raises(Unrenderable, match="number"):
        render_short("order_placed", "en", {**forms()["order_placed"].sample, "number": None})
    with pytest.raises(Unrenderable):
        render_short("order_placed", "en", {**forms()["order_placed"].sample, "total": {"currency": "EUR"}})


def test_several_messages_in_one_letter() -> None:
    told = [Told("price_dropped", {**forms()["price_dropped"].sample, "product_name": f"Thing {number}"}) for number in range(3)]
    letter = render_letter(told, ADA)
    assert letter.subject == "3 news from Souk"
    assert all(f"Thing {number}" in letter.text and f"Thing {number}" in letter.html for number in range(3))


def test_a_shop_has_words_and_a_layout_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "en.toml").write_text('[welcome]\nsubject = "Ahoy"\n[layout]\nfooter = "Yours, the crew"\n')
    (tmp_path / "ar.toml").write_text('[welcome]\nsubject = "أهلا"\nbody = "أهلا وسهلا"\naction = "ادخل"\nshort = "أهلا"\n')
    (tmp_path / "layout.mjml").write_text(
        '<mjml lang="{{ language }}" dir="{{ direction }}"><mj-body><mj-section><mj-column>'
        "<mj-text>Own: {{ parts[0].paragraphs[0] }}</mj-text></mj-column></mj-section></mj-body></mjml>"
    )
    settings.replace(templates=str(tmp_path))
    english = render_letter([Told("welcome", {})], ADA)
    assert english.subject == "Ahoy"
    assert "Your account is ready" in english.text
    assert "Yours, the crew" in english.text
    arabic = render_letter([Told("welcome", {})], Recipient("ar"))
    assert look_at(arabic.html).root["dir"] == "rtl"
    assert "Own: أهلا وسهلا" in arabic.html


def test_many_share_a_page_in_which_only_what_is_their_own_is_theirs() -> None:
    sale = Told("campaign", {"subject": "Sale", "text": "All week."})
    ada, eve, nobody = (render_letter([sale], Recipient("en", "UTC", name), f"https://x.test/{name}?a&b") for name in ("Ada", EVIL, None))
    assert [ada.page[place] is eve.page[place] for place in range(5)] == [True, False, True, False, True]
    assert "Hello Ada," in ada.html
    assert ("script" in look_at(eve.html).tags, "onerror" in look_at(eve.html).attributes) == (False, False)
    assert look_at(ada.html).links[-1] == "https://x.test/Ada?a&b"
    assert "Hello" not in nobody.html
    assert look_at(nobody.html).links[-1] == "https://x.test/None?a&b"


def test_a_layout_that_changes_what_is_a_readers_own_is_filled_for_each(tmp_path: Path) -> None:
    (tmp_path / "layout.mjml").write_text(
        "<mjml><mj-body><mj-section><mj-column><mj-text>{{ greeting | upper }} {{ parts[0].paragraphs[0] }}</mj-text>"
        "</mj-column></mj-section></mj-body></mjml>"
    )
    settings.replace(templates=str(tmp_path))
    sale = Told("campaign", {"subject": "Sale", "text": "All week."})
    assert "HELLO BOB, All week." in render_letter([sale], Recipient("en", "UTC", "Bob")).html


@pytest.mark.parametrize("words", ["{{ shop.__class__.__mro__[1].__subclasses__() }}", "{{ money.__globals__ }}", "{{ oops", "{{ gone }}"])
def test_words_of_a_shop_reach_nothing_but_what_they_are_given(tmp_path: Path, words: str) -> None:
    (tmp_path / "en.toml").write_text(f"[welcome]\nbody = '{words}'\n")
    settings.replace(templates=str(tmp_path))
    with pytest.raises(Unrenderable):
        render_letter([Told("welcome", {})], ADA)
