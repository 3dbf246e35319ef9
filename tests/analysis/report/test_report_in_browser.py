"""The report in a real browser: it loads nothing, can be read on a phone, by keyboard and by a screen reader."""

import json
import shutil
from itertools import pairwise
from urllib.parse import unquote

import pytest
from stored_claims import claim, compare, write_epochs, write_plan, write_run
from stored_files import Store, run_id

from analysis.report.page import gather, render

#: A fresh headless Chromium that a container's root can run and that asks its makers for nothing.
SWITCHES = (
    'headless',
    'no-sandbox',
    'disable-gpu',
    'disable-dev-shm-usage',
    'disable-quic',
    'no-first-run',
    'disable-background-networking',
    'disable-component-update',
    'disable-sync',
)
PHONE, DESK = (360, 780), (1400, 900)


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    """A page with all kinds of content: claims with intervals, pictures, finished and other runs."""
    store = Store(tmp_path_factory.mktemp('report') / 'runs')
    claims = [
        claim(compare('new', 'greater', 'old'), name='holds'),
        claim(compare('old', 'greater', 'new'), name='fails'),
        claim(compare('other', 'greater', 'old'), compare('new', 'greater', 'other'), name='open'),
    ]
    write_plan(store, *claims, seeds=(0, 1))
    for number, quality in enumerate((1.05, 0.75, 0.752)):
        for seed in (0, 1):
            write_run(store, number, quality, seed)
    store.plan('table3', rows=[dict(store.plan()['axes']['t_min'], label='T^min')])
    write_epochs(store, 1, [0.5, 0.4, 0.3])
    store.detections()
    text = "model = {'degrees': {'t_max': 0.6, 't_min': 0.2}}\nrandomness = {'seed': 0}\n"
    store.write(f'desk/{run_id(1)}/config.py', text)
    store.write(f'desk/{run_id(1)}/worker.log', 'a line that is far too long for a phone ' * 20)
    store.write(f'desk/{run_id(2)}/speed.json', '{}')
    path = store.runs / 'report.html'
    path.write_text(render(gather(store.runs, 'desk')), encoding='utf-8')
    return path


@pytest.fixture(scope='module')
def driver(need, tmp_path_factory):
    need('chromium')
    need('chromedriver')
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which('chromium')
    for switch in SWITCHES:
        options.add_argument(f'--{switch}')
    options.add_argument(f'--user-data-dir={tmp_path_factory.mktemp("chromium")}')
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL', 'performance': 'ALL'})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which('chromedriver')))
    yield driver
    driver.quit()


@pytest.fixture
def browser(driver, page):
    """The page, freshly opened on a desk in light; nothing is in the logs."""
    show(driver, page)
    return driver


def show(driver, page, size=DESK, theme='light', fragment=''):
    driver.get('about:blank')
    metrics = dict(width=size[0], height=size[1], deviceScaleFactor=1, mobile=size == PHONE)
    driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', metrics)
    features = [{'name': 'prefers-color-scheme', 'value': theme}]
    driver.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': features})
    for kind in ('browser', 'performance'):
        driver.get_log(kind)
    driver.get(page.as_uri() + fragment)


def unfold(driver):
    driver.execute_script("document.querySelectorAll('details').forEach(each => { each.open = true; })")


def find(driver, selector):
    return driver.find_elements('css selector', selector)


def choose(select, text):
    from selenium.webdriver.support.select import Select

    Select(select).select_by_visible_text(text)


def test_nothing_is_loaded_and_nothing_is_complained_about(browser, page):
    unfold(browser)
    events = [json.loads(entry['message'])['message'] for entry in browser.get_log('performance')]
    asked = [event['params']['request']['url'] for event in events if event['method'] == 'Network.requestWillBeSent']
    asked = [unquote(url) for url in asked if not url.startswith('data:')]
    assert asked == [page.as_uri()]
    assert browser.get_log('browser') == []


def test_the_log_of_requests_would_show_one(browser):
    browser.execute_script("const x = new Image(); x.src = 'picture-that-is-not-there.png'; document.body.append(x)")
    assert any('picture-that-is-not-there' in entry['message'] for entry in browser.get_log('browser'))


def test_tables_and_pictures_are_there(browser):
    unfold(browser)
    [measured, paper] = find(browser, '#table-table3 table.grid')
    assert 'Measured (profile desk)' in measured.text and '39.0/39.3' in paper.text
    sizes = browser.execute_script(
        'return Promise.all([...document.images].map(each => each.decode().then(() => each.naturalWidth)))'
    )
    assert len(sizes) >= 4 and min(sizes) > 300
    assert len(find(browser, 'svg.bar')) == 4 and len(find(browser, '.curves path')) >= 2


def test_runs_are_filtered_by_text_state_and_table(browser):
    def shown():
        return [row.get_attribute('data-state') for row in find(browser, '#runs-list tbody tr') if row.is_displayed()]

    form = find(browser, '#runs form')[0]
    assert len(shown()) == 7 and '7 of 7 shown' in form.text
    search, state, table = find(browser, '#runs form input, #runs form select')
    choose(state, 'not started')
    assert shown() == ['not started'] and '1 of 7 shown' in form.text
    choose(state, 'all')
    choose(table, 'Table 1')
    assert len(shown()) == 6
    search.send_keys('LA OLD')
    assert len(shown()) == 2
    search.send_keys(' of nothing')
    assert shown() == [] and '0 of 7 shown' in form.text


def test_claims_are_filtered_by_verdict(browser):
    choose(find(browser, '#claims select')[0], 'fails')
    rows = [row.text for row in find(browser, '#claims-list tbody tr') if row.is_displayed()]
    assert len(rows) == 1 and 'fails' in rows[0]


def test_columns_sort_by_keyboard_and_say_so(browser):
    from selenium.webdriver.common.keys import Keys

    def column():
        return [row.find_elements('css selector', 'td')[3].text for row in find(browser, '#runs-list tbody tr')]

    header = find(browser, '#runs-list thead th')[4]
    assert header.get_attribute('aria-sort') is None
    button = header.find_element('css selector', 'button')
    find(browser, '#runs-list thead th button')[3].send_keys(Keys.TAB)
    assert browser.switch_to.active_element == button
    assert browser.execute_script('return getComputedStyle(document.activeElement).outlineStyle') == 'solid'
    button.send_keys(Keys.ENTER)
    assert header.get_attribute('aria-sort') == 'ascending'
    numbers = [float(text) for text in column() if text != '–']
    assert len(numbers) == 6 and numbers == sorted(numbers) and column()[6] == '–'
    button.send_keys(Keys.SPACE)
    assert header.get_attribute('aria-sort') == 'descending'
    assert [float(text) for text in column()[:6]] == numbers[::-1] and column()[6] == '–'


def test_a_link_from_a_number_unfolds_its_run(browser):
    link = find(browser, '#table-table3 table.grid td a')[0]
    run = link.get_attribute('href').rpartition('#')[2]
    folded = browser.find_element('id', run)
    assert folded.get_attribute('open') is None
    browser.execute_script('arguments[0].click()', link)
    browser.execute_async_script('requestAnimationFrame(() => setTimeout(arguments[0], 100))')
    assert folded.get_attribute('open') is not None
    assert -5 < browser.execute_script('return arguments[0].getBoundingClientRect().top', folded) < DESK[1]


@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_it_can_be_read_at_the_width_of_a_phone(driver, page, theme):
    show(driver, page, PHONE, theme)
    unfold(driver)
    assert driver.execute_script('return document.documentElement.scrollWidth') == PHONE[0]
    wide = driver.execute_script(
        "return [...document.querySelectorAll('main *')].filter(each => !each.closest('.scroll, pre')"
        ' && each.getBoundingClientRect().right > innerWidth + 1).map(each => each.outerHTML.slice(0, 80))'
    )
    assert wide == []
    sizes = [float(each.value_of_css_property('font-size')[:-2]) for each in find(driver, 'main p, main td')]
    assert min(sizes) >= 12


def test_light_and_dark_follow_the_system_and_the_button(driver, page):
    def ground():
        colour = driver.execute_script('return getComputedStyle(document.body).backgroundColor')
        return sum(int(part) for part in colour[4:-1].split(',')[:3])

    show(driver, page, theme='light')
    assert ground() > 700
    button = driver.find_element('id', 'theme')
    button.click()
    assert ground() < 120 and button.text == 'Light'
    button.click()
    assert ground() > 700 and button.text == 'Dark'
    show(driver, page, theme='dark')
    assert ground() < 120


@pytest.mark.parametrize('theme, size', [('light', DESK), ('dark', DESK), ('light', PHONE)])
def test_axe_finds_nothing_that_keeps_anyone_out(driver, page, theme, size):
    from axe_core_python.selenium import Axe

    show(driver, page, size, theme)
    unfold(driver)
    found = Axe().run(driver)
    assert [(each['id'], each['nodes'][0]['html'][:200]) for each in found['violations']] == []
    checked = {each['id'] for each in found['passes']}
    assert {'color-contrast', 'html-has-lang', 'document-title', 'image-alt', 'landmark-one-main', 'label'} <= checked


def test_landmarks_headings_and_headers_of_tables(browser):
    for landmark in ('header', 'nav[aria-label]', 'main', 'footer'):
        assert len(find(browser, f'body > {landmark}, body > .frame > {landmark}')) == 1
    assert browser.find_element('css selector', 'html').get_attribute('lang') == 'en'
    levels = [int(each.tag_name[1]) for each in find(browser, 'h1, h2, h3, h4, h5')]
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert find(browser, 'th:not([scope])') == [] and find(browser, 'img:not([alt]), img[alt=""]') == []
    assert len(find(browser, 'table')) == len(find(browser, 'table > caption'))
    ids = browser.execute_script('return [...document.querySelectorAll("[id]")].map(each => each.id)')
    assert len(ids) == len(set(ids))
    broken = browser.execute_script(
        'return [...document.querySelectorAll("a[href^=\'#\']")].map(each => each.getAttribute("href").slice(1))'
        '.filter(id => !document.getElementById(id))'
    )
    assert broken == []


def test_a_verdict_is_said_in_words(browser):
    badges = {each.text for each in find(browser, '.badge') if each.text}
    assert badges == {'✓ holds', '✗ fails', '? undecided'}


def test_without_javascript_all_is_there(driver, page):
    driver.execute_cdp_cmd('Emulation.setScriptExecutionDisabled', {'value': True})
    try:
        show(driver, page)
        assert len([row for row in find(driver, '#runs-list tbody tr') if row.is_displayed()]) == 7
        assert not any(each.is_displayed() for each in find(driver, 'form, #theme'))
    finally:
        driver.execute_cdp_cmd('Emulation.setScriptExecutionDisabled', {'value': False})
