"""Makes the picture of the page in the guide: `python -m tests.browser.picture`, after `make browser`."""

from __future__ import annotations

from .serving import PAGE, ROOT, Elsewhere, browsing, folder_serving

PICTURE = ROOT / "docs" / "guides" / "browser.png"
TEXT = "Thank you, I was so worried about her!"


def main() -> None:
    elsewhere = Elsewhere()
    with folder_serving(PAGE) as address, browsing(elsewhere.port) as browser:
        page = browser.new_page(viewport={"width": 390, "height": 640}, device_scale_factor=2)
        page.goto(address)
        page.wait_for_selector("#labels li", timeout=120_000)
        for _ in range(5):  # the first answers take longer
            page.fill("#text", "")
            page.fill("#text", TEXT)
            page.wait_for_timeout(1000)
        page.screenshot(path=PICTURE)
    elsewhere.close()
    print(f"{PICTURE}: {PICTURE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
