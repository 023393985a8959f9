// Things of the whole page that no component owns: light and dark, language, keys, copying, the compare handle.
(() => {
  const kept = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
  const keep = (key, value) => { try { localStorage.setItem(key, value); } catch { /* private window */ } };

  // Language at the plain address: what was chosen last, else what the browser speaks. Who opens /zh gets Chinese.
  const here = location.pathname.startsWith('/zh') ? 'zh' : 'en';
  const wanted = kept('studio-language') || (navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en');
  if (wanted === 'zh' && here === 'en') location.replace('/zh/');
  document.documentElement.lang = here === 'zh' ? 'zh-CN' : 'en';

  // Gradio follows the system on each load; what a person chose with the button wins over that.
  const dress = () => {
    const chosen = kept('studio-theme');
    if (chosen && document.body) document.body.classList.toggle('dark', chosen === 'dark');
  };
  const begin = (start) => {
    if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', start); else start();
  };
  begin(() => {
    dress();
    new MutationObserver(dress).observe(document.body, { attributes: true, attributeFilter: ['class'] });
  });

  const shown = (selector) => [...document.querySelectorAll(selector)].find((node) => node.offsetParent && !node.disabled);

  document.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      const go = shown('button.go');
      if (go) {
        event.preventDefault();
        event.stopPropagation();
        // A field tells the server its text when it loses focus, so it must lose it before the click.
        if (document.activeElement) document.activeElement.blur();
        setTimeout(() => go.click(), 60);
      }
    }
    // Esc first closes an open list or the webcam, and only then stops a run.
    if (event.key === 'Escape' && !event.defaultPrevented && !document.querySelector('[role=listbox]')) {
      const stop = shown('button.stop');
      if (stop) stop.click();
    }
  }, true);

  document.addEventListener('click', async (event) => {
    // On a phone the picture lies below the form: go there when a run starts.
    if (event.target.closest('button.go') && innerWidth < 860) {
      const right = shown('.desk > .right');
      if (right) right.scrollIntoView({ behavior: 'smooth' });
    }
    const theme = event.target.closest('[data-theme-switch]');
    if (theme) {
      const dark = !document.body.classList.contains('dark');
      keep('studio-theme', dark ? 'dark' : 'light');
      document.body.classList.toggle('dark', dark);
    }
    const language = event.target.closest('[data-language]');
    if (language) keep('studio-language', language.dataset.language);
    const copy = event.target.closest('[data-copy]');
    if (copy) {
      await navigator.clipboard.writeText(copy.dataset.copy);
      const label = copy.textContent;
      copy.textContent = copy.dataset.done;
      setTimeout(() => { copy.textContent = label; }, 1400);
    }
  });

  // The compare handle is a range input laid over two pictures: mouse, touch and arrow keys come with it.
  document.addEventListener('input', (event) => {
    if (event.target.matches('.compare input')) {
      event.target.parentElement.style.setProperty('--cut', `${event.target.value}%`);
    }
  });

  // The dot beside the name turns green when the worker holds its model.
  const poll = async () => {
    const dot = document.querySelector('#ready');
    let ready = false;
    try { ready = (await fetch('/readyz')).ok; } catch { /* the server is restarting */ }
    if (dot) {
      dot.dataset.ready = ready;
      dot.textContent = ready ? dot.dataset.yes : dot.dataset.no;
    }
    setTimeout(poll, !dot ? 200 : ready ? 15000 : 1500);
  };
  begin(poll);

  // Who is signed in can sign out; whose session ended is shown the way in.
  const greet = async () => {
    const leave = document.querySelector('[data-sign-out]');
    try {
      const answer = await fetch('/api/v1/me');
      if (answer.status === 401) return location.replace(`/login?next=${here === 'zh' ? '/zh/' : '/'}`);
      const me = await answer.json();
      if (leave) {
        leave.hidden = !me.signed_in;
        leave.title = me.name;
      }
    } catch { /* the server is restarting */ }
    setTimeout(greet, leave ? 60000 : 200);
  };
  begin(greet);
})();
