'use strict';
// Works on what the page already shows: without this script all of it is there, but nothing sorts or filters.

// Light and dark: what the system prefers, until the button is pressed.
const theme = document.getElementById('theme');
const dark = () => (document.documentElement.dataset.theme
  || (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')) === 'dark';
const nameTheme = () => { theme.textContent = dark() ? 'Light' : 'Dark'; };
theme.addEventListener('click', () => {
  document.documentElement.dataset.theme = dark() ? 'light' : 'dark';
  nameTheme();
});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', nameTheme);
nameTheme();
theme.hidden = false;

// A link to something that is folded away opens it.
function unfold() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let each = target; each; each = each.parentElement) if (each.tagName === 'DETAILS') each.open = true;
  target.scrollIntoView();
}
addEventListener('hashchange', unfold);
unfold();

// Tables whose columns sort: a button in each header; rows without a value stay last.
const valueOf = (row, column, numeric) => {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  if (!numeric) return text.toLowerCase();
  return text === '' || Number.isNaN(Number(text)) ? null : Number(text);
};
for (const table of document.querySelectorAll('table[data-sort]')) {
  for (const header of table.tHead.rows[0].cells) {
    if (!header.dataset.sorts) continue;
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = header.textContent;
    header.replaceChildren(button);
    button.addEventListener('click', () => {
      const up = header.getAttribute('aria-sort') !== 'ascending';
      for (const other of table.tHead.rows[0].cells) other.removeAttribute('aria-sort');
      header.setAttribute('aria-sort', up ? 'ascending' : 'descending');
      const numeric = header.dataset.sorts === 'number';
      const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row, header.cellIndex, numeric), row]);
      rows.sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null);
        const order = numeric ? a - b : a.localeCompare(b, 'en', { numeric: true });
        return up ? order : -order;
      });
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  }
}

// Filters: rows that have the searched text, and of each select the chosen value.
for (const part of document.querySelectorAll('[data-filters]')) {
  const form = part.querySelector('form');
  const rows = [...document.getElementById(part.dataset.filters).tBodies[0].rows];
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const apply = () => {
    const text = form.querySelector('[data-text]').value.trim().toLowerCase();
    const chosen = [...form.querySelectorAll('[data-by]')].filter((select) => select.value);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !(texts.get(row).includes(text)
        && chosen.every((select) => row.dataset[select.dataset.by].split('|').includes(select.value)));
      shown += !row.hidden;
    }
    form.querySelector('[role=status]').textContent = `${shown} of ${rows.length} shown`;
  };
  for (const event of ['input', 'change']) form.addEventListener(event, apply);
  form.addEventListener('submit', (event) => event.preventDefault());
  form.hidden = false;
  apply();
}
