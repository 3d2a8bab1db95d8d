package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip"
)

// batchList is a flag's list of batch sizes: powers of two, as larger batches
// are split into such.
type batchList []int

func (l batchList) largest() int { return max(0, slices.Max(l)) }

func (l *batchList) String() string {
	sizes := make([]string, len(*l))
	for i, batch := range *l {
		sizes[i] = strconv.Itoa(batch)
	}
	return strings.Join(sizes, ",")
}

func (l *batchList) Set(s string) error {
	var list batchList
	for item := range strings.SplitSeq(s, ",") {
		var n count
		if err := n.Set(item); err != nil || n&(n-1) != 0 {
			return fmt.Errorf("%q: want powers of two from 1 to %d", item, maxCount)
		}
		list = append(list, int(n))
	}
	*l = list
	return nil
}

func (l *batchList) Type() string { return "list" }

// weightsList is a flag's list of storages of weights.
type weightsList []clip.CastDType

func (l *weightsList) String() string {
	names := make([]string, len(*l))
	for i, w := range *l {
		names[i] = string(w)
	}
	return strings.Join(names, ",")
}

func (l *weightsList) Set(s string) error {
	var list weightsList
	for item := range strings.SplitSeq(s, ",") {
		var w weightsFlag
		if err := w.Set(item); err != nil {
			return err
		}
		list = append(list, clip.CastDType(w))
	}
	*l = list
	return nil
}

func (l *weightsList) Type() string { return "list" }

// weightsFlag is a flag's storage of weights.
type weightsFlag clip.CastDType

func (w *weightsFlag) String() string { return string(*w) }

func (w *weightsFlag) Set(s string) error {
	c, err := clip.ParseCastDType(s)
	if err != nil {
		return fmt.Errorf("want f32, f16, bf16 or q8")
	}
	*w = weightsFlag(c)
	return nil
}

func (w *weightsFlag) Type() string { return "type" }
