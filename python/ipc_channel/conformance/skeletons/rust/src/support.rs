//! JSON and SHA-256 for main.rs: the control language needs them, your client does not.

/// A line of JSON that the suite sends. Fields that the testee does not know may hold anything.
pub struct Json<'a>(pub &'a str);

impl<'a> Json<'a> {
    /// Returns what follows a key of the outermost object.
    fn find(&self, key: &str) -> Option<&'a str> {
        let (mut depth, mut rest) = (0, self.0);
        while let Some(at) = rest.find(['{', '}', '[', ']', '"']) {
            let found = rest.as_bytes()[at];
            rest = &rest[at + 1..];
            match found {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {
                    let end = end_of_string(rest);
                    let text = &rest[..end];
                    rest = rest.get(end + 1..)?;
                    let value = rest.trim_start().strip_prefix(':');
                    if depth == 1 && text == key && value.is_some() {
                        return value.map(str::trim_start);
                    }
                }
            }
        }
        None
    }

    pub fn number(&self, key: &str) -> Option<f64> {
        let text = self.find(key)?;
        text[..text.find([',', '}', ']', ' ']).unwrap_or(text.len())]
            .parse()
            .ok()
    }

    pub fn numbers(&self, key: &str) -> Option<Vec<usize>> {
        let list = self.find(key)?.strip_prefix('[')?;
        let texts = list[..list.find(']')?].split(',').map(str::trim);
        texts
            .filter(|text| !text.is_empty())
            .map(|text| text.parse().ok())
            .collect()
    }

    pub fn string(&self, key: &str) -> Option<String> {
        let text = self.find(key)?.strip_prefix('"')?;
        let mut units = Vec::new(); // of UTF-16, as the escapes are
        let mut characters = text[..end_of_string(text)].chars();
        while let Some(mut next) = characters.next() {
            if next == '\\' {
                next = match characters.next()? {
                    'b' => '\x08',
                    'f' => '\x0c',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'u' => {
                        units.push(u16::from_str_radix(characters.as_str().get(..4)?, 16).ok()?);
                        characters.nth(3);
                        continue;
                    }
                    other => other,
                };
            }
            units.extend_from_slice(next.encode_utf16(&mut [0; 2]));
        }
        String::from_utf16(&units).ok()
    }
}

/// Returns where the closing quotation mark is.
fn end_of_string(text: &str) -> usize {
    let mut escaped = false;
    let is_end = |c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    };
    text.find(is_end).unwrap_or(text.len())
}

/// Returns a string as JSON.
pub fn quoted(text: &str) -> String {
    let escape = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c < ' ' => format!("\\u{:04x}", c as u32),
        c => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}

/// SHA-256 (FIPS 180-4).
pub struct Sha256 {
    state: [u32; 8],
    block: Vec<u8>,
    size: u64,
}

impl Sha256 {
    pub fn new() -> Self {
        let state = [
            0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab,
            0x5be0cd19,
        ];
        Self {
            state,
            block: Vec::with_capacity(64),
            size: 0,
        }
    }

    pub fn update(&mut self, mut data: &[u8]) -> &mut Self {
        self.size += data.len() as u64;
        while !data.is_empty() {
            let (taken, rest) = data.split_at(data.len().min(64 - self.block.len()));
            self.block.extend_from_slice(taken);
            data = rest;
            if self.block.len() == 64 {
                self.compress();
                self.block.clear();
            }
        }
        self
    }

    fn compress(&mut self) {
        let mut w = [0u32; 64];
        for (word, bytes) in w.iter_mut().zip(self.block.chunks(4)) {
            *word = u32::from_be_bytes(bytes.try_into().unwrap());
        }
        for i in 16..64 {
            let s0 = w[i - 15].rotate_right(7) ^ w[i - 15].rotate_right(18) ^ (w[i - 15] >> 3);
            let s1 = w[i - 2].rotate_right(17) ^ w[i - 2].rotate_right(19) ^ (w[i - 2] >> 10);
            w[i] = w[i - 16]
                .wrapping_add(s0)
                .wrapping_add(w[i - 7])
                .wrapping_add(s1);
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = self.state;
        for i in 0..64 {
            let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let t1 = h.wrapping_add(s1).wrapping_add((e & f) ^ (!e & g));
            let t1 = t1.wrapping_add(CONSTANTS[i]).wrapping_add(w[i]);
            let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let t2 = s0.wrapping_add((a & b) ^ (a & c) ^ (b & c));
            (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(t1), c, b, a, t1.wrapping_add(t2));
        }
        for (state, value) in self.state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *state = state.wrapping_add(value);
        }
    }

    pub fn hex(mut self) -> String {
        let bits = (self.size * 8).to_be_bytes();
        let padding = 1 + (119 - self.size as usize % 64) % 64;
        let zeros = [0; 63];
        self.update(&[0x80])
            .update(&zeros[..padding - 1])
            .update(&bits);
        self.state
            .iter()
            .map(|word| format!("{word:08x}"))
            .collect()
    }
}

const CONSTANTS: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];
