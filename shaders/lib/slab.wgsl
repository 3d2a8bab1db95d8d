//!use packed
// Parameters that lie side by side in a slab, as the records of ops.Update list them. The kernel declares records, an
// array<u32>, and p.records, how many there are.
const RECORD = 9u;   // words of a record
const ALIGN = 256u;  // elements for which the records, behind the last, tell the parameter

// record_of(at) is where the record begins of the parameter that element at of the slab belongs to.
fn record_of(at: u32) -> u32 { return records[p.records * RECORD + at / ALIGN] * RECORD; }

// panel_in(at, r) is the panel of element at in record r's parameter.
fn panel_in(at: u32, r: u32) -> u32 { return panel_of(at - records[r], records[r + 6u], records[r + 7u]); }

// gradient_of(at, near, r) is the element that holds the gradient of element at, which record r's parameter holds in
// panel near or shortly after: gradients are row-major. Padding has none: NOWHERE.
fn gradient_of(at: u32, near: u32, r: u32) -> u32 {
    let first = records[r];
    let i = source(at - first, near, records[r + 4u], records[r + 5u], records[r + 6u], records[r + 7u]);
    return select(NOWHERE, first + i, i < records[r + 2u]);
}

// parameter_of(at, r) is the element of w that element at of moments and gradients belongs to.
fn parameter_of(at: u32, r: u32) -> u32 { return at - records[r] + records[r + 1u]; }

fn decays(r: u32) -> bool { return records[r + 3u] != 0u; }

// rate_of(r) is what the learning rate of record r's parameter is multiplied by.
fn rate_of(r: u32) -> f32 { return bitcast<f32>(records[r + 8u]); }
