// A picture comes in by file, drop, paste or webcam, goes to the upload route, and stays here as an id.
const zone = element.querySelector('.picker');
const words = config.words;
const file = zone.querySelector('input[type=file]');
const thumb = zone.querySelector('img');
const note = zone.querySelector('.picker-note');
const video = zone.querySelector('video');
let stream = null;

const say = (text, bad) => { note.textContent = text; note.classList.toggle('bad', Boolean(bad)); };

const show = (url) => {
  if (url) thumb.src = url; else thumb.removeAttribute('src');
  zone.dataset.state = url ? 'full' : 'empty';
};

const send = async (blob, name) => {
  const body = new FormData();
  body.append('file', blob, name || 'picture.png');
  say(words.sending);
  try {
    const answer = await fetch('/api/v1/uploads', { method: 'POST', body });
    const reply = await answer.json();
    if (!answer.ok) {
      say(`${reply.error.message} ${reply.error.hint || ''}`, true);
      return;
    }
    show(URL.createObjectURL(blob));
    say('');
    props.value = reply.id;
    trigger('input');
  } catch {
    say(words.offline, true);
  }
};

const close = () => {
  if (stream) stream.getTracks().forEach((track) => track.stop());
  stream = null;
  video.srcObject = null;
  if (zone.dataset.state === 'camera') zone.dataset.state = thumb.src ? 'full' : 'empty';
};

file.addEventListener('change', () => { if (file.files[0]) send(file.files[0], file.files[0].name); file.value = ''; });
// Stopped here: a dropper on the same tab would take the picture for one to read settings from.
zone.addEventListener('dragover', (event) => {
  event.preventDefault();
  event.stopPropagation();
  zone.classList.add('over');
});
zone.addEventListener('dragleave', () => zone.classList.remove('over'));
zone.addEventListener('drop', (event) => {
  event.preventDefault();
  event.stopPropagation();
  zone.classList.remove('over');
  if (event.dataTransfer.files[0]) send(event.dataTransfer.files[0], event.dataTransfer.files[0].name);
});
document.addEventListener('paste', (event) => {
  const pasted = [...(event.clipboardData?.files || [])].find((one) => one.type.startsWith('image/'));
  if (pasted && zone.offsetParent && !event.defaultPrevented) { event.preventDefault(); send(pasted, pasted.name); }
});
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && stream) { event.preventDefault(); close(); }
}, true);
zone.addEventListener('click', async (event) => {
  const act = event.target.closest('[data-do]')?.dataset.do;
  if (act === 'camera') {
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: 1024, height: 1024 } });
      video.srcObject = stream;
      zone.dataset.state = 'camera';
      say('');
    } catch {
      say(words.camera, true);
    }
  } else if (act === 'shoot') {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext('2d').drawImage(video, 0, 0);
    canvas.toBlob((blob) => { close(); send(blob, 'webcam.png'); }, 'image/png');
  } else if (act === 'close') {
    close();
  } else if (act === 'clear') {
    show(null);
    props.value = '';
    trigger('input');
  }
});
// A value that came from the server is a picture of the library; it may have come before this tab was first opened.
const fetched = () => show(props.value ? `/api/v1/images/${encodeURIComponent(props.value)}/file` : null);
if (props.value) fetched();
watch('value', fetched);
