// News of clients: a note in the corner and a count on the Review tab, wherever in the studio one is.
(() => {
  const PAUSE = 5000;
  const KEY = 'studio-review-heard';
  const said = {
    en: { approved: 'approved a picture', rejected: 'rejected a picture', comment: 'wrote', imported: 'sent feedback' },
    zh: { approved: '通过了一张图片', rejected: '未通过一张图片', comment: '评论', imported: '发来了反馈' },
  };
  const words = () => said[document.documentElement.lang.startsWith('zh') ? 'zh' : 'en'];
  const kept = () => { try { return localStorage.getItem(KEY); } catch { return null; } };
  const keep = (number) => { try { localStorage.setItem(KEY, number); } catch { /* private window */ } };
  let heard = kept() === null ? null : Number(kept());
  let unread = 0;

  const tell = (line) => {
    const note = document.createElement('p');
    note.className = 'news';
    note.setAttribute('role', 'status');
    note.textContent = `${line.name} ${words()[line.kind]}${line.kind === 'comment' ? `: ${line.text.slice(0, 120)}` : ''}`;
    document.querySelectorAll('.news').forEach((old) => old.remove());
    document.body.append(note);
    setTimeout(() => note.remove(), 7000);
  };
  const count = () => {
    const tab = document.querySelector('#tab-review-button');
    if (!tab) return;
    if (tab.getAttribute('aria-selected') === 'true') unread = 0;
    if (unread) tab.dataset.news = unread; else delete tab.dataset.news;
  };
  const look = async () => {
    try {
      const answer = await fetch(`/api/v1/review/feedback?after=${heard || 0}`);
      if (answer.ok) {
        const lines = await answer.json();
        const news = lines.filter((line) => line.kind in words());
        if (lines.length) keep(heard === null ? lines.at(-1).number : Math.max(heard, lines.at(-1).number));
        if (heard !== null && news.length) {
          unread += news.length;
          tell(news.at(-1));
        }
        heard = Number(kept() ?? 0);
      }
    } catch { /* the studio is restarting */ }
    count();
    setTimeout(look, PAUSE);
  };
  document.addEventListener('click', () => setTimeout(count, 100));
  setTimeout(look, 1500);
})();
