package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

// table is one of a tables.json: some of its rows, from their first column on, and its
// digest.
type table struct {
	Shape  []int                `json:"shape"` // [rows, …]
	Digest *digest              `json:"digest"`
	Rows   map[string][]float64 `json:"rows"` // by number

	Relative [3]int    `json:"relative"` // of buckets, instead of a shape: the first distance, the last and the step
	Bucket   []float64 `json:"bucket"`
}

// UnmarshalJSON implements json.Unmarshaler. A list of layer types is a row, with 1 for
// one that sees all tokens.
func (t *table) UnmarshalJSON(data []byte) error {
	type plain table
	var layerTypes []string
	if json.Unmarshal(data, &layerTypes) == nil {
		t.Bucket = make([]float64, len(layerTypes))
		for i, kind := range layerTypes {
			if kind == "f" {
				t.Bucket[i] = 1
			}
		}
	} else if err := json.Unmarshal(data, (*plain)(t)); err != nil {
		return err
	}
	if t.Bucket != nil {
		t.Shape, t.Rows = []int{1, len(t.Bucket)}, map[string][]float64{"0": t.Bucket}
	}
	return t.check()
}

// maxTable bounds the elements of a table.
const maxTable = 1 << 22

func (t *table) check() error {
	elems := 1
	for _, n := range t.Shape {
		if n < 1 || n > maxTable/elems {
			return fmt.Errorf("shape %v, want 1 to %d elements", t.Shape, maxTable)
		}
		elems *= n
	}
	if len(t.Shape) == 0 || len(t.Rows) == 0 {
		return fmt.Errorf("want a shape and rows")
	}
	for name, row := range t.Rows {
		if i, err := strconv.Atoi(name); err != nil || i < 0 || i >= t.Shape[0] || len(row) > t.width() {
			return fmt.Errorf("row %q of %d columns, want one of shape %v", name, len(row), t.Shape)
		}
	}
	return nil
}

func (t *table) elems() int { return graph.Shape(t.Shape).Elems() }

// width is the length of a row.
func (t *table) width() int { return t.elems() / t.Shape[0] }

// verifyTables compares what towers of published sizes are given beside their weights:
// angles of rotary positions, sinusoids, buckets of distances, biases by offset, resized
// grids of positions. tables.json has them by name.
func verifyTables(ctx context.Context, c *testCase) error {
	tolerance, err := c.tolerance()
	if err != nil {
		return err
	}
	var all map[string]json.RawMessage
	if err := c.decode("tables.json", &all); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		var want table
		if err := json.Unmarshal(all[name], &want); err != nil {
			return fmt.Errorf("tables.json: %s: %w", name, err)
		}
		if err := c.compareTable(name, &want, tolerance); err != nil {
			return fmt.Errorf("tables.json: %s: %w", name, err)
		}
	}
	return nil
}

// compareTable makes a row of the table's rows and one of its digest.
func (c *testCase) compareTable(name string, want *table, tolerance float64) error {
	for _, m := range tableMakers {
		rest, ok := strings.CutPrefix(name, m.prefix)
		if !ok {
			continue
		}
		got, err := m.values(rest, want)
		if err != nil {
			return err
		}
		if len(got) != want.elems() {
			c.add(name, math.NaN(), tolerance, fmt.Sprintf("%d elements, want shape %v", len(got), want.Shape))
			return nil
		}
		worst := 0.0
		for row, values := range want.Rows {
			i, _ := strconv.Atoi(row) // as check has done
			for j, v := range values {
				worst = max(worst, math.Abs(float64(got[i*want.width()+j])-v))
			}
		}
		c.add(name, worst, tolerance, fmt.Sprintf("%d rows of %v", len(want.Rows), want.Shape))
		if want.Digest != nil {
			// If every element is off by the tolerance, the norm of the table is off by at most this.
			c.add(name+".digest", digestOf(got).distance(*want.Digest), tolerance*math.Sqrt(float64(len(got))), "")
		}
		return nil
	}
	return fmt.Errorf("there is no table of that name")
}
