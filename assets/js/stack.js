// Rows of LoRA styles with their weights. All text goes in as text nodes: titles and trigger words come from files.
const root = element.querySelector('.stack');
const words = config.words;
let known = new Map(config.known.map((row) => [row.name, row]));

const make = (tag, options = {}, ...children) => {
  const node = document.createElement(tag);
  const { text, on, ...attributes } = options;
  if (text !== undefined) node.textContent = text;
  Object.entries(attributes).forEach(([key, value]) => { if (value !== undefined && value !== false) node.setAttribute(key, value === true ? '' : value); });
  Object.entries(on || {}).forEach(([key, listener]) => node.addEventListener(key, listener));
  node.append(...children);
  return node;
};
const value = () => JSON.parse(props.value || '{}');
const rows = () => value().rows || [];
const locked = () => Boolean(value().locked);
const commit = (next) => { props.value = JSON.stringify({ rows: next, locked: locked() }); trigger('input'); };

const budget = () => {
  const sum = rows().reduce((total, row) => total + Math.abs(row.weight), 0);
  const bar = root.querySelector('.budget');
  if (!bar) return;
  bar.hidden = rows().length === 0;
  bar.dataset.over = sum > config.budget + 1e-9;
  bar.querySelector('i').style.width = `${Math.min(100, 100 * sum / (config.budget * 4 / 3))}%`;
  bar.querySelector('span').textContent = (sum > config.budget + 1e-9 ? words.over : words.budget)
    .replace('{sum}', sum.toFixed(2)).replace('{limit}', config.budget.toFixed(1));
};

const change = (index, weight, row) => {
  const clean = Math.max(-4, Math.min(4, Number.isFinite(weight) ? weight : 0));
  commit(rows().map((one, i) => (i === index ? { ...one, weight: clean } : one)));
  row.querySelectorAll('input').forEach((input) => { if (input !== document.activeElement) input.value = clean; });
  fill(row);
  budget();
};

const fill = (row) => {
  const range = row.querySelector('input[type=range]');
  range.style.setProperty('--fill', `${100 * (Number(range.value) - range.min) / (range.max - range.min)}%`);
};

const line = (one, index) => {
  const about = known.get(one.name) || { title: one.name, base: '', trigger: '', rank: 0 };
  const row = make('li', { class: 'stack-row' });
  const label = `${about.title} · ${words.weight}`;
  row.append(
    make('div', { class: 'stack-head' },
      make('b', { text: about.title }),
      make('button', { type: 'button', class: 'tiny', text: '×', 'aria-label': `${words.remove} ${about.title}`, disabled: locked(),
        on: { click: () => { commit(rows().filter((_, i) => i !== index)); draw(); } } })),
    make('div', { class: 'stack-weight' },
      make('input', { type: 'range', min: -1, max: 2, step: 0.05, value: one.weight, 'aria-label': label, disabled: locked(),
        on: { input: (event) => change(index, Number(event.target.value), row) } }),
      make('input', { type: 'number', min: -4, max: 4, step: 0.05, value: one.weight, 'aria-label': label, disabled: locked(),
        on: { input: (event) => change(index, Number(event.target.value), row) } })),
  );
  fill(row);
  if (about.trigger) {
    row.append(make('div', { class: 'stack-words' }, make('small', { text: words.trigger }),
      ...about.trigger.split(',').map((word) => word.trim()).filter(Boolean).map((word) => make('button', {
        type: 'button', class: 'word', text: word, on: { click: () => trigger('select', { word }) } }))));
  }
  return row;
};

const draw = () => {
  const free = [...known.values()].filter((row) => !rows().some((one) => one.name === row.name));
  const select = make('select', { 'aria-label': words.add, disabled: locked() || rows().length >= 16, on: { change: (event) => {
    if (event.target.value) { commit([...rows(), { name: event.target.value, weight: 0.8 }]); draw(); }
  } } }, make('option', { value: '', text: free.length ? words.add : words.none }));
  free.forEach((row) => select.append(make('option', {
    value: row.name, disabled: Boolean(row.problem), text: row.problem ? `${row.title} (${words.refused})` : `${row.title} · ${row.base}`,
  })));
  root.replaceChildren(
    make('ul', {}, ...rows().map(line)),
    make('div', { class: 'budget', role: 'status' }, make('div', {}, make('i')), make('span')),
    select,
  );
  if (locked()) root.append(make('small', { text: words.locked }));
  budget();
};
draw();
watch('value', () => {
  const fresh = value().known;
  if (fresh) known = new Map(fresh.map((row) => [row.name, row]));
  draw();
});
