// c[i,h,m,n] = alpha · Σ_k a[i,h,m,k] · b[i,h,k,n] + bias[n]
// One invocation makes ROWS × 4 results, one workgroup ROWS rows × 4·WG columns. Loads from a are the same for the
// whole workgroup, those from b are each used ROWS times. Rows and columns past the end read the last one.
//!use fold
//!use product

const WG = 32u;
const ROWS = 8u;

//!tile ROWS 4*WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // Neighbouring workgroups share their columns of b.
    let tiles_m = (p.m + ROWS - 1u) / ROWS;
    let tiles_n = (p.n + 4u * WG - 1u) / (4u * WG);
    let group = group_index(wg);
    let row = group % tiles_m * ROWS;
    let col = group / tiles_m % tiles_n * 4u * WG + lane * 4u;
    let batch = group / (tiles_m * tiles_n) / p.heads;
    let head = group / (tiles_m * tiles_n) % p.heads;
    if batch * p.heads + head >= p.groups || col >= p.n {
        return;
    }

    var a_at: array<u32, ROWS>;
    var sum: array<vec4<f32>, ROWS>;
    for (var r = 0u; r < ROWS; r++) {
        a_at[r] = p.a_base + batch * p.a_batch + head * p.a_head + min(row + r, p.m - 1u) * p.a_row;
    }
    var b_at = min(vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(p.n - 1u)) * p.b_col
        + p.b_base + batch * p.b_batch + head * p.b_head;
    for (var k = 0u; k < p.k; k++) {
        let right = vec4<f32>(b[b_at.x], b[b_at.y], b[b_at.z], b[b_at.w]);
        for (var r = 0u; r < ROWS; r++) {
            sum[r] = fma(vec4<f32>(a[a_at[r] + k * p.a_col]), right, sum[r]);
        }
        b_at += p.b_row;
    }

    var offset = vec4<f32>(0.0);
    for (var s = 0u; s < 4u; s++) {
        if p.has_bias != 0u && col + s < p.n {
            offset[s] = bias[col + s];
        }
    }
    let c_at = p.c_base + batch * p.c_batch + head * p.c_head + col * p.c_col;
    for (var r = 0u; r < ROWS; r++) {
        let y = fma(vec4<f32>(p.alpha), sum[r], offset);
        for (var s = 0u; s < 4u; s++) {
            if row + r < p.m && col + s < p.n {
                c[c_at + (row + r) * p.c_row + s * p.c_col] = y[s];
            }
        }
    }
}
