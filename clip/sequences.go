package clip

import (
	"github.com/clip-wgpu/clip-wgpu/clip/internal/engine"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
)

// patched is a picture as preprocess.Transform.Patches gives it.
type patched struct {
	rgb  []uint8
	grid [2]int
}

// encodingOf returns the task that computes an output of the image tower of pictures,
// whose features are made unit vectors.
func (e *pictureEncoder) encodingOf(pictures []*picture, output string) engine.Task {
	s, ok := e.Preprocess().Sequence()
	if !ok {
		task := encoding("pixels", towers.Batch{Items: len(pictures)}, true, e.recordPixels, []string{output})
		task.Feed = e.feed(pictures)
		return task
	}
	// All are as long as the longest can be, so that one program serves them. Few are much
	// shorter: pictures are as large as that length allows.
	return encoding("image", towers.Batch{
		Items: len(pictures), Length: s.MaxLength,
		Feed: func(lo, hi int) map[string]any {
			b, err := e.images(sequences(e.Preprocess(), pictures[lo:hi]))
			if err != nil {
				panic(err) // sequences gives what the tower takes
			}
			return b.Feed(0, hi-lo)
		},
	}, true, e.towers.RecordImages, []string{output})
}

// sequences are what pictures consist of, by name, with padding behind each.
func sequences(t *preprocess.Transform, pictures []*picture) map[string]Array {
	s, _ := t.Sequence()
	n, length, width := len(pictures), s.MaxLength, 3*s.PatchSize[0]*s.PatchSize[1]
	patches := Array{[]int{n, length, width}, make([]float32, n*length*width)}
	coord := Array{[]int{n, length, 2}, make([]float32, n*length*2)}
	valid := Array{[]int{n, length}, make([]float32, n*length)}
	for i, p := range pictures {
		copy(patches.Data[i*length*width:], t.Normalized(p.patches.rgb))
		for j := range p.patches.grid[0] * p.patches.grid[1] {
			at := i*length + j
			coord.Data[2*at], coord.Data[2*at+1] = float32(j/p.patches.grid[1]), float32(j%p.patches.grid[1])
			valid.Data[at] = 1
		}
	}
	return map[string]Array{towers.Patches: patches, towers.PatchCoord: coord, towers.PatchValid: valid}
}
