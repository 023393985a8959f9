// Pins on a picture and the divider between two. Without this file everything can still be seen and said.
(() => {
  const SVG = 'http://www.w3.org/2000/svg';
  const STEP = 0.02; // of the picture, for one press of an arrow key
  const clamp = (value) => Math.min(1, Math.max(0, value));

  const pinning = (piece) => {
    const form = piece.querySelector('form.comment');
    if (!form) return;
    const [sheet, svg] = [piece.querySelector('.sheet'), piece.querySelector('.pins')];
    const [button, note] = [form.querySelector('button.pin'), form.querySelector('.pin-note')];
    const [width, height] = [svg.viewBox.baseVal.width, svg.viewBox.baseVal.height];
    let mark = null;
    let spot = { x: 0.5, y: 0.5 };
    button.hidden = false;

    const draw = () => {
      if (!mark) {
        mark = document.createElementNS(SVG, 'g');
        mark.classList.add('pin-mark', 'mine');
        const circle = document.createElementNS(SVG, 'circle');
        circle.setAttribute('r', Math.max(width, height) * 0.024);
        mark.append(circle);
        svg.append(mark);
      }
      mark.firstChild.setAttribute('cx', spot.x * width);
      mark.firstChild.setAttribute('cy', spot.y * height);
      form.x.value = spot.x.toFixed(4);
      form.y.value = spot.y.toFixed(4);
    };
    const say = (text) => { note.textContent = text; };
    const stop = () => {
      sheet.classList.remove('placing');
      sheet.removeAttribute('tabindex');
    };
    const clear = () => {
      stop();
      if (mark) { mark.remove(); mark = null; }
      [form.x.value, form.y.value] = ['', ''];
      button.textContent = button.dataset.on;
      button.setAttribute('aria-pressed', 'false');
      say('');
    };
    const settle = () => {
      stop();
      say(note.dataset.set);
      form.text.focus({ preventScroll: innerWidth > 860 });
    };
    button.addEventListener('click', () => {
      if (form.x.value) return clear();
      spot = { x: 0.5, y: 0.5 };
      draw();
      button.textContent = button.dataset.off;
      button.setAttribute('aria-pressed', 'true');
      say(note.dataset.help);
      sheet.classList.add('placing');
      sheet.tabIndex = 0;
      sheet.setAttribute('aria-label', note.dataset.help);
      sheet.focus();
      sheet.scrollIntoView({ block: 'nearest' });
    });
    svg.addEventListener('click', (event) => {
      if (!sheet.classList.contains('placing')) return;
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      spot = { x: clamp(at.x / width), y: clamp(at.y / height) };
      draw();
      settle();
    });
    sheet.addEventListener('keydown', (event) => {
      if (!sheet.classList.contains('placing')) return;
      const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (event.key === 'Enter') { event.preventDefault(); settle(); }
      if (event.key === 'Escape') { clear(); button.focus(); }
      if (!move) return;
      event.preventDefault();
      spot = { x: clamp(spot.x + move[0] * STEP), y: clamp(spot.y + move[1] * STEP) };
      draw();
    });
    form.addEventListener('cleared', clear);
  };
  document.querySelectorAll('.piece').forEach(pinning);

  document.querySelectorAll('.compare').forEach((box) => {
    const range = box.querySelector('input');
    box.classList.add('sliding');
    range.hidden = false;
    box.querySelector('.divider').hidden = false;
    range.addEventListener('input', () => box.style.setProperty('--cut', `${range.value}%`));
  });
  document.querySelectorAll('.choose select').forEach((list) => {
    list.addEventListener('change', () => list.form.submit());
  });
})();
