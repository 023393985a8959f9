// A picture comes in by drop anywhere on the tab, or by file; the value is what the server says of it.
const zone = element.querySelector('.dropper');
const words = config.words;
const file = zone.querySelector('input[type=file]');
const note = zone.querySelector('.picker-note');
const tab = element.closest('[role=tabpanel]') || element;

const say = (text, bad) => { note.textContent = text; note.classList.toggle('bad', Boolean(bad)); };

const read = async (blob) => {
  const body = new FormData();
  body.append('file', blob, 'picture');
  say(words.sending);
  try {
    const answer = await fetch(config.to, { method: 'POST', body });
    const reply = await answer.json();
    if (!answer.ok) {
      say(`${reply.error.message} ${reply.error.hint || ''}`, true);
      return;
    }
    say('');
    props.value = JSON.stringify({ ...reply, nonce: Date.now() });
    trigger('input');
  } catch {
    say(words.offline, true);
  }
};

const carriesFile = (event) => [...(event.dataTransfer?.types || [])].includes('Files');
file.addEventListener('change', () => { if (file.files[0]) read(file.files[0]); file.value = ''; });
tab.addEventListener('dragover', (event) => {
  if (carriesFile(event)) { event.preventDefault(); zone.classList.add('over'); }
});
tab.addEventListener('dragleave', (event) => {
  if (!tab.contains(event.relatedTarget)) zone.classList.remove('over');
});
tab.addEventListener('drop', (event) => {
  zone.classList.remove('over');
  if (!event.dataTransfer.files[0]) return;
  event.preventDefault();
  event.stopPropagation();
  read(event.dataTransfer.files[0]);
});
