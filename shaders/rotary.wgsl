// y[r, a] = x[r, a]·c − x[r, b]·s, y[r, b] = x[r, b]·c + x[r, a]·s: each pair (a, b) of columns turned by an angle
// A pair is neighbours or, with halves, as far apart as half of a head: pair i of a head is its columns i and i + head/2.
// c, s: cosine and sine of the angle of row r's position and of the pair's place in its head; from column turned on y is x.
// The rows of angles are repeated for all of x. sign −1 turns the other way. One invocation makes one of the n pairs of
// y, one workgroup WG of them.
//!use fold
struct Params { n: u32, width: u32, turned: u32, head: u32, rows: u32, halves: u32, sign: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [batch·length, width], 2·n elements
@group(0) @binding(2) var<storage, read> angles: array<f32>;   // [rows, head]: for each pair its cosine and its sine
@group(0) @binding(3) var<storage, read_write> y: array<f32>;  // [batch·length, width]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let pair = group_index(wg) * WG + lane;
    if pair >= p.n {
        return;
    }
    let i = 2u * pair;
    let column = i % p.width;
    var a = i;
    var b = i + 1u;
    if p.halves != 0u {
        a = i - column % p.head / 2u;
        b = a + p.head / 2u;
    }
    var even = x[a];
    var odd = x[b];
    if column < p.turned {
        let at = i / p.width % p.rows * p.head + column % p.head;
        let c = angles[at];
        let s = p.sign * angles[at + 1u];
        let before = even;
        even = before * c - odd * s;
        odd = odd * c + before * s;
    }
    y[a] = even;
    y[b] = odd;
}
