'use strict';
// The page works without this: everything is then shown, and nothing can be switched.

// mdBook's search asks this before it takes a key.
// eslint-disable-next-line no-unused-vars
function mdbook_something_else_has_focus(event) {
    return /^(?:input|select|textarea)$/i.test(event.target.nodeName);
}

(function () {
    const root = document.documentElement;
    const all = (selector, from = document) => Array.from(from.querySelectorAll(selector));
    const make = (name, attributes = {}, ...children) => {
        const element = document.createElement(name);
        Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
        element.append(...children);
        return element;
    };
    const remember = (key, value) => {
        try {
            localStorage.setItem(key, value);
        } catch (e) { /* Not remembered, then. */ }
    };

    // Command line, JSON or Rust: one choice for all examples of all pages.
    const FORMS = [['cli', 'CLI'], ['json', 'JSON'], ['rust', 'Rust']];
    all('.forms').forEach((place) => {
        const set = make('fieldset', { class: 'forms' }, make('legend', {}, 'Show examples as'));
        FORMS.forEach(([value, name]) => {
            const radio = make('input', { type: 'radio', name: 'form', value });
            radio.checked = root.dataset.form === value;
            radio.addEventListener('change', () => {
                root.dataset.form = value;
                remember('aaws-form', value);
            });
            set.append(make('label', {}, radio, name));
        });
        place.replaceWith(set);
    });

    const dark = () => {
        if (root.dataset.theme) return root.dataset.theme === 'dark';
        return window.matchMedia('(prefers-color-scheme: dark)').matches;
    };
    const theme = document.getElementById('theme');
    const say = () => theme.setAttribute('aria-label', dark() ? 'Light colours' : 'Dark colours');
    theme.addEventListener('click', () => {
        root.dataset.theme = dark() ? 'light' : 'dark';
        remember('aaws-theme', root.dataset.theme);
        say();
    });
    say();

    const menu = document.getElementById('menu');
    const pages = document.getElementById('pages');
    menu.addEventListener('click', () => {
        menu.setAttribute('aria-expanded', String(pages.classList.toggle('open')));
    });
    const current = pages.querySelector('[aria-current]');
    if (current) pages.scrollTop = current.offsetTop - pages.clientHeight / 2;

    // Code: colours, a way to copy it, and a way to reach it by keyboard when it is wider than the page.
    const LANGUAGES = { console: 'shell' };
    all('pre > code').forEach((code) => {
        const language = (/language-(\S+)/.exec(code.className) || [])[1];
        const text = code.textContent;
        if (language && language !== 'text') {
            code.className = 'language-' + (LANGUAGES[language] || language);
            hljs.highlightBlock(code);
        }
        const button = make('button', { type: 'button', class: 'copy' }, 'Copy');
        button.addEventListener('click', () => copy(commands(language, text), button));
        code.parentElement.append(button);
        reachable(code, 'Code');
    });
    all('.table-wrapper').forEach((wrapper) => reachable(wrapper, 'Table'));

    function reachable(element, label) {
        if (element.scrollWidth > element.clientWidth) {
            element.tabIndex = 0;
            element.setAttribute('role', 'region');
            element.setAttribute('aria-label', label);
        }
    }

    // Of a terminal session, what was typed; of anything else, all.
    function commands(language, text) {
        if (language !== 'console') return text.replace(/\n$/, '');
        let goesOn = false;
        const typed = text.split('\n').filter((line) => {
            const isTyped = goesOn || line.startsWith('$ ');
            goesOn = isTyped && line.endsWith('\\');
            return isTyped;
        });
        return typed.map((line) => line.replace(/^\$ /, '')).join('\n');
    }

    async function copy(text, button) {
        try {
            await navigator.clipboard.writeText(text);
        } catch (e) {
            // Without the permission, or on a page that is not secure.
            const area = make('textarea', { style: 'position: fixed; opacity: 0' });
            area.value = text;
            document.body.append(area);
            area.select();
            document.execCommand('copy');
            area.remove();
        }
        button.textContent = 'Copied';
        window.setTimeout(() => { button.textContent = 'Copy'; }, 1500);
    }

    // The catalogue: rows that hold all words that were typed, and have the effect that was chosen.
    all('.catalogue').forEach((place) => {
        const rows = all('tbody tr', place);
        const effects = [...new Set(rows.map((row) => row.querySelector('.effect').textContent))];
        const words = make('input', { type: 'search', 'aria-label': 'Filter the actions', placeholder: 'Words of a name, a service, a summary …' });
        const effect = make('select', { 'aria-label': 'Effect' }, make('option', { value: '' }, 'any effect'));
        effects.forEach((name) => effect.append(make('option', { value: name }, name)));
        const told = make('p', { role: 'status' });
        const apply = () => {
            const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
            let shown = 0;
            rows.forEach((row) => {
                const text = row.textContent.toLowerCase();
                const fits = wanted.every((word) => text.includes(word))
                    && (!effect.value || row.querySelector('.effect').textContent === effect.value);
                row.hidden = !fits;
                shown += fits ? 1 : 0;
            });
            told.textContent = shown + ' of ' + rows.length + ' actions';
        };
        words.addEventListener('input', apply);
        effect.addEventListener('change', apply);
        place.prepend(make('div', { class: 'filter' }, words, effect, told));
        apply();
    });
})();
