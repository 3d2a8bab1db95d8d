// dtable[id, j] = Σ_r dy[r,j] over the pairs (id, r), which lie side by side in ascending order; other rows stay as they are
// dtable is the held rows from first on of a table of rows.
// The order of the pairs, from gather_sort, gives each row of dtable one writer and its sum one order.
// One invocation makes one column of one id if its pair is the first of that id, one workgroup WG of n in all.
//!use fold
struct Params { n: u32, rows: u32, width: u32, first: u32, held: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> pairs: array<vec2<u32>>;   // [n / width]
@group(0) @binding(2) var<storage, read> dy: array<f32>;            // [n / width, width]
@group(0) @binding(3) var<storage, read_write> dtable: array<f32>;  // [held, width]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    var k = i / p.width;
    let j = i % p.width;
    let row = pairs[k].x;
    if row < p.first || row - p.first >= p.held || (k > 0u && pairs[k - 1u].x == row) {
        return;
    }
    var sum = 0.0;
    while k < p.n / p.width && pairs[k].x == row {
        sum += dy[pairs[k].y * p.width + j];
        k += 1u;
    }
    dtable[(row - p.first) * p.width + j] = sum;
}
