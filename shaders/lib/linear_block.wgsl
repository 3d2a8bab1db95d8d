// How linear goes through x and its weight by whole blocks.
//!use linear
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;  // [m, inner]

// factors(col, i)[j] takes number j of x's group i to the four of y's group col.
fn factors(col: u32, i: u32) -> mat4x4<f32> {
    if BACKWARD {
        return transpose(load_w(block_at(p.first + i, col, p.blocks, p.depth)));
    }
    return load_w(block_at(p.first + col, i, p.blocks, p.depth));
}

// left(row, i) is x's group i of a row. Rows past the end read the last one.
fn left(row: u32, i: u32) -> vec4<f32> {
    let v = x[min(row, p.m - 1u) * p.inner + i];
    if BACKWARD {
        return v * scale_w(block_at(p.first + i, p.depth - 1u, p.blocks, p.depth));
    }
    return v;
}

// add_product(sum, v, w) = sum + v · w, of which software drivers store only the end.
fn add_product(sum: vec4<f32>, v: vec4<f32>, w: mat4x4<f32>) -> vec4<f32> {
    let x = fma(vec4<f32>(v.x), w[0], sum);
    let y = fma(vec4<f32>(v.y), w[1], x);
    let z = fma(vec4<f32>(v.z), w[2], y);
    return fma(vec4<f32>(v.w), w[3], z);
}
