package clip

import (
	"context"
	"fmt"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/weights"
)

// findNaN names the tensors that hold NaN.
func findNaN(ctx context.Context, src weights.Source) (found nanTensors, err error) {
	for _, name := range src.Names() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		t, _ := src.Tensor(name)
		i, err := t.FirstNaN()
		if err != nil {
			return nil, err
		}
		if i >= 0 {
			found.add(name, i)
		}
	}
	return found, nil
}

// nanTensors are tensors that hold NaN, as text. They make one warning, however
// many they are: after a training that diverged it is all of them.
type nanTensors []string

func (n *nanTensors) add(name string, element int) {
	*n = append(*n, fmt.Sprintf("%s (element %d)", name, element))
}

func (n nanTensors) warnings() []string {
	if len(n) == 0 {
		return nil
	}
	named := n[:min(len(n), 3)]
	text := "NaN in tensor " + strings.Join(named, ", ")
	if more := len(n) - len(named); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return []string{text}
}
