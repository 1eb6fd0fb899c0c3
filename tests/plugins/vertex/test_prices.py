import pytest

from freelane.quota.catalogue.pricing import prices

PACKAGE = "freelane_vertex.prices"


@pytest.mark.parametrize("meter", ["gemini.input_tokens", "gemini.output_tokens"])
def test_the_tokens_of_every_gemini_that_is_free_in_part_have_a_price(meter):
    book = prices(PACKAGE, "gemini")
    for model in ("gemini-3.5-flash-lite", "gemini-3.5-flash", "gemini-2.5-flash"):
        price = book.find(meter, {"model": model})
        assert price is not None
        assert price.nano_usd > 0


def test_no_figure_that_was_not_found_ships():
    for plugin in ("vertex", "cloudrun"):
        assert prices(PACKAGE, plugin).rates == []
