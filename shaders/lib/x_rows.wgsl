// What linear multiplies by its weight: the rows of x as they lie.
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;  // [m, inner]

// A Row is where a row of x begins, a Group what left adds to that for group i.
alias Row = u32;
alias Group = u32;

// row_at(row) is a row of x. Rows past the end are the last one.
fn row_at(row: u32) -> Row { return min(row, p.m - 1u) * p.inner; }

fn group_at(i: u32) -> Group { return i; }

// left(row, group) are the four numbers of a row's group.
fn left(row: Row, group: Group) -> vec4<f32> {
    let v = x[row + group];
    if BACKWARD {
        return v * scale_w(block_at(p.first + group, p.depth - 1u, p.blocks, p.depth));
    }
    return v;
}

// factors(col, i)[j] takes number j of x's group i to the four of y's group col.
fn factors(col: u32, i: u32) -> mat4x4<f32> {
    if BACKWARD {
        return transpose(load_w(block_at(p.first + i, col, p.blocks, p.depth)));
    }
    return load_w(block_at(p.first + col, i, p.blocks, p.depth));
}

// factor(col, i, j) is factors(col, i)[j]. Neighbouring j lie side by side.
fn factor(col: u32, i: u32, j: u32) -> vec4<f32> {
    if BACKWARD {
        return column_w(block_at(p.first + i, col, p.blocks, p.depth), j);
    }
    return row_w(block_at(p.first + col, i, p.blocks, p.depth), j);
}
