// c[i,h,m,n] = alpha · Σ_k a[i,h,m,k] · b[i,h,k,n] + bias[n]
// As matmul, for products that fill a GPU. What one vec4 in workgroup memory holds are four rows of a, or columns of b,
// that are SIDE apart: so neighbouring invocations load neighbouring elements, whichever way an operand lies, and
// store neighbouring results. Rows and columns past the end read the last one.
//!use fold
//!use tile
//!use product

const DEPTH = 16u;  //!dx12 4

// place is what an invocation loads of a part: k and the number of the vec4, and how far it goes on in each.
fn place(lane: u32, along_k: bool) -> vec4<u32> {
    if along_k {
        return vec4<u32>(lane % DEPTH, lane / DEPTH, 0u, WG / DEPTH);
    }
    return vec4<u32>(lane / SIDE, lane % SIDE, WG / SIDE, 0u);
}

// four are the rows, or columns, of a vec4, of which the first is i.
fn four(i: u32) -> vec4<u32> {
    return vec4<u32>(i) + vec4<u32>(0u, SIDE, 2u * SIDE, 3u * SIDE);
}

//!tile TILE TILE
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // Neighbouring workgroups share their columns of b.
    let tiles_m = (p.m + TILE - 1u) / TILE;
    let tiles_n = (p.n + TILE - 1u) / TILE;
    let group = group_index(wg);
    let row = group % tiles_m * TILE;
    let col = group / tiles_m % tiles_n * TILE;
    let batch = group / (tiles_m * tiles_n) / p.heads;
    let head = group / (tiles_m * tiles_n) % p.heads;
    if batch * p.heads + head >= p.groups {
        return;
    }
    let up = lane / HALF;
    let across = lane % HALF;

    let in_a = place(lane, p.a_col <= p.a_row);
    let in_b = place(lane, p.b_row <= p.b_col);
    var a_at: array<vec4<u32>, LOADS>;
    var b_at: array<vec4<u32>, LOADS>;
    for (var t = 0u; t < LOADS; t++) {  //!unroll
        a_at[t] = min(four(row + in_a.y + t * in_a.w), vec4<u32>(p.m - 1u)) * p.a_row
            + (p.a_base + batch * p.a_batch + head * p.a_head + (in_a.x + t * in_a.z) * p.a_col);
        b_at[t] = min(four(col + in_b.y + t * in_b.w), vec4<u32>(p.n - 1u)) * p.b_col
            + (p.b_base + batch * p.b_batch + head * p.b_head + (in_b.x + t * in_b.z) * p.b_row);
    }
    var sum: array<array<vec4<f32>, 2>, 8>;
    for (var i = 0u; i < p.k; i += DEPTH) {
        var from_a: array<vec4<f32>, LOADS>;
        var from_b: array<vec4<f32>, LOADS>;
        for (var t = 0u; t < LOADS; t++) {  //!unroll
            from_a[t] = vec4<f32>(0.0);  // naga 0.13 does so once only, not for each i
            from_b[t] = vec4<f32>(0.0);
            if i + in_a.x + t * in_a.z < p.k {
                let at = a_at[t] + i * p.a_col;
                from_a[t] = vec4<f32>(a[at.x], a[at.y], a[at.z], a[at.w]);
            }
            if i + in_b.x + t * in_b.z < p.k {
                let at = b_at[t] + i * p.b_row;
                from_b[t] = vec4<f32>(b[at.x], b[at.y], b[at.z], b[at.w]);
            }
        }
        for (var t = 0u; t < LOADS; t++) {  //!unroll
            part_left[in_a.x + t * in_a.z][in_a.y + t * in_a.w] = from_a[t];
            part_right[in_b.x + t * in_b.z][in_b.y + t * in_b.w] = from_b[t];
        }
        workgroupBarrier();
        add_part(&sum, up, across);
        workgroupBarrier();
    }

    for (var g = 0u; g < 2u; g++) {  //!unroll
        let cols = four(col + across + g * HALF);
        var offset = vec4<f32>(0.0);
        if p.has_bias != 0u {
            let at = min(cols, vec4<u32>(p.n - 1u));
            offset = vec4<f32>(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);
        }
        let to = cols * p.c_col + (p.c_base + batch * p.c_batch + head * p.c_head);
        for (var r = 0u; r < 8u; r++) {  //!unroll
            let to_row = row + up + r / 4u * HALF + r % 4u * SIDE;
            let y = fma(vec4<f32>(p.alpha), sum[r][g], offset);
            for (var s = 0u; s < 4u; s++) {
                if to_row < p.m && cols[s] < p.n {
                    c[to[s] + to_row * p.c_row] = y[s];
                }
            }
        }
    }
}
