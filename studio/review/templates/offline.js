
// The same page without a server: what is said stays in this browser until it is saved to a file.
(() => {
  const { words, ...head } = JSON.parse(document.getElementById('facts').textContent);
  const key = `review ${head.link}`;
  const read = () => { try { return JSON.parse(localStorage.getItem(key)) || {}; } catch { return {}; } };
  const kept = { name: '', entries: [], ...read() };
  const keep = () => { try { localStorage.setItem(key, JSON.stringify(kept)); } catch { /* private window */ } };
  const field = document.querySelector('form.name input');
  const draw = (text) => { const node = document.createElement('bdi'); node.textContent = text; return node; };
  const id = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');

  const verdict = (piece) => {
    const last = kept.entries.filter((entry) => entry.picture === piece.dataset.picture && entry.kind !== 'comment').pop();
    const state = last && last.kind !== 'withdrew' ? last.kind : '';
    const [yes, no] = [piece.querySelector('.verdict .yes'), piece.querySelector('.verdict .no')];
    const set = (button, kind, sign, on, off) => {
      button.setAttribute('aria-pressed', String(state === kind));
      button.value = state === kind ? 'withdrew' : kind;
      button.textContent = `${sign} ${state === kind ? on : off}`;
    };
    set(yes, 'approved', '✓', words.you_approved, words.approve);
    set(no, 'rejected', '✕', words.you_rejected, words.reject);
  };
  const comments = (piece) => {
    const list = piece.querySelector('.comments');
    const mine = kept.entries.filter((entry) => entry.picture === piece.dataset.picture && entry.kind === 'comment');
    const svg = piece.querySelector('.pins');
    svg.replaceChildren();
    let pins = 0;
    list.replaceChildren(...mine.map((entry) => {
      const item = document.createElement('li');
      const who = document.createElement('p');
      who.className = 'said';
      if (entry.x !== null) {
        pins += 1;
        const number = document.createElement('span');
        number.className = 'number';
        number.textContent = pins;
        who.append(number);
        mark(svg, entry, pins);
      }
      const text = document.createElement('p');
      text.className = 'text';
      text.dir = 'auto';
      text.textContent = entry.text;
      const name = document.createElement('b');
      name.append(draw(kept.name));
      who.append(name);
      item.append(who, text);
      return item;
    }));
    const none = piece.querySelector('.none');
    if (none) none.hidden = mine.length > 0;
  };
  const mark = (svg, entry, number) => {
    const { width, height } = svg.viewBox.baseVal;
    const radius = Math.max(width, height) * 0.024;
    const [group, circle, text] = ['g', 'circle', 'text'].map((name) => document.createElementNS('http://www.w3.org/2000/svg', name));
    group.classList.add('pin-mark');
    const place = { cx: entry.x * width, cy: entry.y * height, r: radius };
    for (const [name, value] of Object.entries(place)) circle.setAttribute(name, value);
    for (const [name, value] of Object.entries({ x: place.cx, y: place.cy, 'font-size': radius * 1.15 })) text.setAttribute(name, value);
    text.textContent = number;
    group.append(circle, text);
    svg.append(group);
  };
  const show = () => document.querySelectorAll('.piece').forEach((piece) => { verdict(piece); comments(piece); });

  document.addEventListener('submit', (event) => {
    event.preventDefault();
    const form = event.target;
    if (form.matches('.name') || !kept.name) {
      kept.name = field.value.trim();
      keep();
      if (!kept.name) { field.focus(); field.scrollIntoView({ block: 'center' }); return; }
      if (form.matches('.name')) { show(); return; }
    }
    const picture = form.closest('.piece').dataset.picture;
    if (form.matches('.verdict')) {
      kept.entries.push({ id: id(), picture, kind: event.submitter.value, text: '', x: null, y: null });
    } else if (form.text.value.trim()) {
      const pinned = form.x.value !== '';
      kept.entries.push({
        id: id(), picture, kind: 'comment', text: form.text.value.trim(),
        x: pinned ? Number(form.x.value) : null, y: pinned ? Number(form.y.value) : null,
      });
      form.text.value = '';
      form.dispatchEvent(new Event('cleared'));
    }
    keep();
    show();
  });
  const save = document.querySelector('.save');
  save.hidden = false;
  save.addEventListener('click', () => {
    kept.name = field.value.trim() || kept.name;
    if (!kept.name) { field.focus(); return; }
    const file = new Blob([JSON.stringify({ ...head, ...kept }, null, 1)], { type: 'application/json' });
    const link = document.createElement('a');
    link.href = URL.createObjectURL(file);
    link.download = 'review-feedback.json';
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  field.value = kept.name;
  show();
})();
