package clip

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip/internal/engine"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

// lengthGroup is pictures of a batch that are encoded together: sequences of one length.
type lengthGroup struct {
	pictures []*picture
	places   []int // of the pictures in the batch
	length   int   // of the sequences with their padding; 0: they are images of one size
}

// A batch of sequences is cut into shares, by length, and each is padded to one of so many
// lengths: few, since each is a program to compile.
const lengthShares, lengthSteps = 4, 4

// lengthGroups takes pictures of a batch apart by the lengths that they are padded to. All
// groups but the one of the longest are as large as whole shares of a batch, so that few
// pictures of another length do not split it in many small runs.
func (e *pictureEncoder) lengthGroups(pictures []*picture) (groups []lengthGroup) {
	places := rangeOf(0, len(pictures))
	s, ok := e.Preprocess().Sequence()
	if !ok {
		return []lengthGroup{{pictures, places, 0}}
	}
	slices.SortStableFunc(places, func(i, j int) int { return cmp.Compare(pictures[i].patches.Len(), pictures[j].patches.Len()) })
	for share := range slices.Chunk(places, graph.Ceil(e.batch, lengthShares)) {
		longest := pictures[share[len(share)-1]].patches.Len()
		length := paddedLength(longest, s.MaxLength)
		if n := len(groups); n == 0 || groups[n-1].length != length {
			groups = append(groups, lengthGroup{length: length})
		}
		last := &groups[len(groups)-1]
		for _, i := range share {
			last.pictures, last.places = append(last.pictures, pictures[i]), append(last.places, i)
		}
	}
	return groups
}

// paddedLength is the least of lengthSteps lengths, the longest of which is most, that hold
// so many patches.
func paddedLength(patches, most int) int {
	step := (patches-1)*lengthSteps/most + 1
	return graph.Ceil(most*step, lengthSteps)
}

// encodingOf returns the task that computes an output of the image tower of pictures,
// whose features are made unit vectors.
func (e *pictureEncoder) encodingOf(group lengthGroup, output string) (task engine.Task) {
	b := towers.Batch{Items: len(group.pictures), Length: group.length}
	if group.length == 0 {
		b.Feed = e.feed(group.pictures)
		task = encoding("pixels", b, true, e.recordPixels, []string{output})
	} else {
		b.Feed = e.feedSequences(group)
		task = encoding("image", b, true, e.towers.RecordImages, []string{output})
	}
	task.Took = e.took()
	return task
}

// feedSequences gives the inputs of the image tower.
func (e *pictureEncoder) feedSequences(group lengthGroup) func(lo, hi int) map[string]any {
	return func(lo, hi int) map[string]any {
		var sequences []preprocess.Patched
		for _, p := range group.pictures[lo:hi] {
			sequences = append(sequences, p.patches)
		}
		inputs, err := PatchInputs(e.Preprocess(), sequences, group.length)
		var b towers.Batch
		if err == nil {
			b, err = e.images(inputs)
		}
		if err != nil {
			panic(err) // the tower takes what the transform gives
		}
		return b.Feed(0, hi-lo)
	}
}

// PatchInputs are the inputs, by name, of towers that take pictures of any size: patches
// that t, or its training transform, has made, normalised, and padded to sequences of a
// length. Pictures of more patches, and a t without a Sequence, give ErrInput.
func PatchInputs(t *preprocess.Transform, pictures []preprocess.Patched, length int) (map[string]Array, error) {
	s, ok := t.Sequence()
	if !ok || length < 1 {
		return nil, fmt.Errorf("%w: sequences of %d patches, of a transform with a sequence: %t", ErrInput, length, ok)
	}
	n, width := len(pictures), 3*s.PatchSize[0]*s.PatchSize[1]
	patches := Array{[]int{n, length, width}, make([]float32, n*length*width)}
	coord := Array{[]int{n, length, 2}, make([]float32, n*length*2)}
	valid := Array{[]int{n, length}, make([]float32, n*length)}
	for i, p := range pictures {
		if min(p.Grid[0], p.Grid[1]) < 0 || p.Len() > length || len(p.RGB) != p.Len()*width {
			return nil, fmt.Errorf("%w: picture %d has %d patches of %d bytes together, want at most %d of %d each", ErrInput, i, p.Len(), len(p.RGB), length, width)
		}
		copy(patches.Data[i*length*width:], t.Normalized(p.RGB))
		for j := range p.Len() {
			at := i*length + j
			coord.Data[2*at], coord.Data[2*at+1] = float32(j/p.Grid[1]), float32(j%p.Grid[1])
			valid.Data[at] = 1
		}
	}
	return map[string]Array{towers.Patches: patches, towers.PatchCoord: coord, towers.PatchValid: valid}, nil
}
