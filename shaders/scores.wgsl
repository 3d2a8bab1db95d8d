// y[q,r] = Σ_k x[q,k] · v[r,k], v in IEEE 754 binary16
// One workgroup makes WG / SPAN rows of one query, SPAN invocations share the sum of a row: on GPUs, where neighbours
// that load neighbouring memory load it once. The sum has one order, whatever the number of rows.
//!use fold
struct Params { queries: u32, rows: u32, width: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;  // [queries, 2·width]
@group(0) @binding(2) var<storage, read> v: array<vec4<u32>>;  // [rows, width]: eight numbers each
@group(0) @binding(3) var<storage, read_write> y: array<f32>;  // [queries, rows]

const WG = 64u;
const SPAN = 1u;  //!tune 1 8
const ROWS = WG / SPAN;

var<workgroup> partial: array<f32, WG>;

//!tile WG/SPAN
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let blocks = (p.rows + ROWS - 1u) / ROWS;
    let group = group_index(wg);
    let query = group / blocks;
    if query >= p.queries {
        return;
    }
    let row = group % blocks * ROWS + lane / SPAN;
    let from_x = query * 2u * p.width;
    let from_v = min(row, p.rows - 1u) * p.width;
    var even = vec4<f32>(0.0);
    var odd = vec4<f32>(0.0);
    for (var i = lane % SPAN; i < p.width; i += SPAN) {
        let q = v[from_v + i];
        even = fma(x[from_x + 2u * i], vec4<f32>(unpack2x16float(q.x), unpack2x16float(q.y)), even);
        odd = fma(x[from_x + 2u * i + 1u], vec4<f32>(unpack2x16float(q.z), unpack2x16float(q.w)), odd);
    }
    even += odd;
    var sum = even.x + even.y + even.z + even.w;
    if SPAN > 1u {
        partial[lane] = sum;
        workgroupBarrier();
        sum = 0.0;
        for (var s = 0u; s < SPAN; s++) {
            sum += partial[lane / SPAN * SPAN + s];
        }
    }
    if lane % SPAN == 0u && row < p.rows {
        y[query * p.rows + row] = sum;
    }
}
