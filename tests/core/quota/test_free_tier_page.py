"""The rows that docs/free-tier.md shows are rows."""

import re
from pathlib import Path

from freelane.config.load import load
from freelane.quota.catalogue.catalog import overrides
from freelane.quota.catalogue.pricing import prices

PAGE = Path(__file__).parents[3] / "docs/free-tier.md"
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)


def _block(start: str, folder: Path) -> Path:
    (block,) = (block for block in BLOCKS if block.startswith(start))
    (folder / "mine.toml").write_text(block)
    return folder


def test_the_quota_on_the_page_replaces_ours(tmp_path):
    (quota,) = overrides(_block("[[quota]]", tmp_path), "gemini")
    assert (quota.id, quota.limit, quota.safety_margin) == ("flash-2.5-day", 250, 10)


def test_the_price_on_the_page_is_found(tmp_path):
    book = prices(None, "sagemaker", _block("[[price]]", tmp_path))
    use = {"instance_type": "ml.g4dn.xlarge", "region": "us-east-1"}
    assert book.find("sagemaker.training", use).of(3_600_000) == 736_400_000


def test_the_account_on_the_page_is_read(tmp_path):
    file = _block("[providers.sagemaker]", tmp_path) / "mine.toml"
    config = load(start=tmp_path, environ={}, user_file=file)
    assert config.account("sagemaker").credit_nano_usd == 80 * 10**9
    assert config.account("gemini").id == "my-free-project"
