/* JSON and SHA-256 for testee.c: the control language needs them, your client does not. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *allocate(size_t size) {
    void *memory = malloc(size ? size : 1);
    if (!memory) abort();
    return memory;
}

/* ---- JSON: a line that the suite sends. Fields that the testee does not know may hold anything. */

/* Return the value of a key of the outermost object, or NULL. */
static const char *find(const char *json, const char *key) {
    int depth = 0;
    for (const char *p = json; *p; p++) {
        if (*p == '{' || *p == '[') depth++;
        if (*p == '}' || *p == ']') depth--;
        if (*p != '"') continue;
        const char *text = ++p;
        while (*p && *p != '"') p += *p == '\\' && p[1] ? 2 : 1;
        if (!*p) break;
        const char *after = p + 1 + strspn(p + 1, " ");
        bool found = (size_t)(p - text) == strlen(key) && strncmp(text, key, strlen(key)) == 0;
        if (depth == 1 && *after == ':' && found) return after + 1 + strspn(after + 1, " ");
    }
    return NULL;
}

static double number(const char *json, double otherwise) { return json ? strtod(json, NULL) : otherwise; }

/* Return a list of numbers, to be freed. */
static size_t *numbers(const char *json, size_t *count) {
    size_t *list = allocate(strlen(json) * sizeof *list);
    for (*count = 0; *json && *json != ']' && json[1] != ']'; *count += 1) {
        list[*count] = strtoul(json + 1, (char **)&json, 10);
        json += strspn(json, " ");
    }
    return list;
}

/* Return a string as UTF-8, to be freed; NULL if it holds a NUL. */
static char *string(const char *json) {
    char *text = allocate(strlen(json)), *to = text;
    for (json++; *json && *json != '"'; json++) {
        unsigned long c = (unsigned char)*json;
        if (c == '\\') {
            const char *escape = strchr("b\bf\fn\nr\rt\t", *++json);
            c = (unsigned char)(escape ? escape[1] : *json);
            if (*json == 'u') {
                unsigned high = 0, low = 0;
                sscanf(json + 1, "%4x", &high);
                json += 4;
                c = high;
                if (high >> 10 == 0x36 && sscanf(json + 1, "\\u%4x", &low) == 1) {
                    c = 0x10000 + ((high & 0x3ff) << 10 | (low & 0x3ff));
                    json += 6;
                }
            }
        }
        if (c == 0) return free(text), NULL;
        int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
        static const unsigned lead[] = {0, 0xc0, 0xe0, 0xf0};
        *to++ = (char)(lead[more] | c >> 6 * more);
        while (more-- > 0) *to++ = (char)(0x80 | (c >> 6 * more & 0x3f));
    }
    *to = 0;
    return text;
}

static void print_string(const char *text) {
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') putchar('\\');
        putchar((unsigned char)*text < ' ' ? '?' : *text);
    }
    putchar('"');
}

/* ---- SHA-256 (FIPS 180-4). */

struct sha256 {
    uint32_t state[8];
    uint64_t size; /* bytes so far */
    unsigned char block[64];
};

static const uint32_t sha256_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t sha256_rotate(uint32_t x, int by) { return x >> by | x << (32 - by); }

static void sha256_begin(struct sha256 *hash) {
    static const uint32_t initial[8] = {
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
    };
    memcpy(hash->state, initial, sizeof initial);
    hash->size = 0;
}

static void sha256_block(uint32_t *state, const unsigned char *block) {
    uint32_t w[64], v[8];
    for (int i = 0; i < 16; i++, block += 4)
        w[i] = (uint32_t)block[0] << 24 | (uint32_t)block[1] << 16 | (uint32_t)block[2] << 8 | block[3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        uint32_t s0 = sha256_rotate(a, 7) ^ sha256_rotate(a, 18) ^ a >> 3;
        uint32_t s1 = sha256_rotate(b, 17) ^ sha256_rotate(b, 19) ^ b >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    memcpy(v, state, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t a = v[0], e = v[4];
        uint32_t s1 = sha256_rotate(e, 6) ^ sha256_rotate(e, 11) ^ sha256_rotate(e, 25);
        uint32_t t1 = v[7] + s1 + ((e & v[5]) ^ (~e & v[6])) + sha256_constants[i] + w[i];
        uint32_t s0 = sha256_rotate(a, 2) ^ sha256_rotate(a, 13) ^ sha256_rotate(a, 22);
        uint32_t t2 = s0 + ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) state[i] += v[i];
}

static void sha256_add(struct sha256 *hash, const unsigned char *data, size_t size) {
    while (size > 0) {
        size_t held = hash->size % 64, taken = 64 - held < size ? 64 - held : size;
        memcpy(hash->block + held, data, taken);
        hash->size += taken;
        data += taken;
        size -= taken;
        if (hash->size % 64 == 0) sha256_block(hash->state, hash->block);
    }
}

static void sha256_print(struct sha256 *hash) {
    static const unsigned char padding[64] = {0x80};
    unsigned char bits[8];
    for (int i = 0; i < 8; i++) bits[i] = (unsigned char)(hash->size * 8 >> (56 - 8 * i));
    sha256_add(hash, padding, 1 + (119 - hash->size % 64) % 64);
    sha256_add(hash, bits, 8);
    for (int i = 0; i < 8; i++) printf("%08x", (unsigned)hash->state[i]);
}
