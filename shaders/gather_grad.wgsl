// dtable[id_r, j] = Σ_s dy[s,j] over the chain of rows s that starts at r, where start[r]; other rows stay as they are
// dtable is the held rows from first on of a table of rows.
// The chains, from gather_links, give each row of dtable one writer and its sum one order.
// One invocation makes one column of one chain, one workgroup WG of them, n in all.
//!use fold
struct Params { n: u32, rows: u32, width: u32, first: u32, held: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> id: array<i32>;            // [n / width]
@group(0) @binding(2) var<storage, read> next: array<u32>;          // [n / width]
@group(0) @binding(3) var<storage, read> start: array<u32>;         // [n / width]
@group(0) @binding(4) var<storage, read> dy: array<f32>;            // [n / width, width]
@group(0) @binding(5) var<storage, read_write> dtable: array<f32>;  // [held, width]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    var s = i / p.width;
    let j = i % p.width;
    if start[s] == 0u {
        return;
    }
    let row = u32(clamp(id[s], 0, i32(p.rows) - 1));
    if row < p.first || row - p.first >= p.held {
        return;
    }
    var sum = 0.0;
    while s < p.n / p.width {
        sum += dy[s * p.width + j];
        s = next[s];
    }
    dtable[(row - p.first) * p.width + j] = sum;
}
