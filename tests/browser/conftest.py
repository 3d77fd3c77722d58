"""A real Chromium without a network; the tests here are skipped, with the reason, where there is none."""

import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="package")
def chromium():
    """The browser, started once and ended before other tests begin: it keeps an event loop running."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        pytest.skip("there is no Chromium on the PATH")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    """Open a file with the network off; at the end nothing may have been asked for or complained of."""
    seen = []

    def open_file(path, fragment="", **options):
        settings = {"viewport": {"width": 1280, "height": 860}, "reduced_motion": "reduce", "offline": True}
        context = chromium.new_context(**{**settings, **options})
        page = context.new_page()
        requests, complaints = [], []
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        seen.append((context, requests, complaints))
        page.goto(path.as_uri() + fragment)
        return page

    yield open_file
    for context, requests, complaints in seen:
        context.close()
        assert len(requests) == 1, requests
        assert complaints == []
