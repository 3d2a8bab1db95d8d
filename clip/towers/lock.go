package towers

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// LockImageTower freezes the image tower but for its last unlockedGroups groups: 0
// freezes all, more than there are unlocks all (lock_image_tower of open_clip's
// model.py). With freezeBNStats it also makes the batch norms of frozen groups ones
// that training leaves alone. Later calls do not undo that.
func (m *Model) LockImageTower(unlockedGroups int, freezeBNStats bool) {
	m.imageFamily.lock(m.Visual, unlockedGroups, "")
	if !freezeBNStats {
		return
	}
	weights.Find(m.Visual, func(name string, b *layers.BatchNorm2D) {
		if b.Weight.Frozen && !slices.Contains(m.imageFamily.UnlockedStats, name) {
			b.Freeze()
		}
	})
}

// LockTextTower freezes the text tower but for its last unlockedLayers groups
// (lock_text_tower of open_clip's model.py). Without freezeLayerNorm the layer norms
// of frozen groups stay trainable, where the tower's family allows that.
func (m *Model) LockTextTower(unlockedLayers int, freezeLayerNorm bool) error {
	norm := ""
	if !freezeLayerNorm {
		if norm = m.textFamily.LayerNorm; norm == "" {
			return fmt.Errorf("%w: the layer norms of a %s tower are locked like its other weights; freeze_layer_norm must be true", check.ErrInput, m.textFamily.Name)
		}
	}
	m.textFamily.lock(m.Text, unlockedLayers, norm)
	return nil
}

// LayerGroups are the groups of both towers that locks go by, from the input to the
// output, without buffers (layer_groups in open_clip). A parameter may be in none.
func (m *Model) LayerGroups() (image, text [][]*graph.Param) {
	return m.imageFamily.groups(m.Visual), m.textFamily.groups(m.Text)
}

// lock freezes the groups of a tower but for the last unlocked ones, whose parameters
// become trainable. Modules named norm stay trainable in all groups, unless it is "".
func (f *Family) lock(t Tower, unlocked int, norm string) {
	groups := f.groups(t)
	for i, group := range groups {
		for _, p := range group {
			kept := norm != "" && slices.Contains(strings.Split(p.Name, "."), norm)
			p.Frozen = i < len(groups)-unlocked && !kept
		}
	}
}

// groupKey orders groups: by the entry of Family.Groups, then by the numbers for its stars.
type groupKey [3]int

// unnumbered stands for the numbers of names without a star.
const unnumbered = math.MaxInt

// groups are the parameters of a tower in the groups of its family.
func (f *Family) groups(t Tower) (groups [][]*graph.Param) {
	members := map[groupKey][]*graph.Param{}
	weights.Walk(t, func(name string, p *graph.Param) {
		if at, ok := f.groupOf(name); ok && !p.Buffer {
			members[at] = append(members[at], p)
		}
	})
	var last groupKey
	for i, at := range slices.SortedFunc(maps.Keys(members), func(a, b groupKey) int { return slices.Compare(a[:], b[:]) }) {
		if i > 0 && at[0] == last[0] && at[1] == unnumbered {
			groups[len(groups)-1] = append(groups[len(groups)-1], members[at]...)
		} else {
			groups = append(groups, members[at])
		}
		last = at
	}
	return groups
}

// groupOf returns where the group of a parameter stands; false where it is in none.
func (f *Family) groupOf(name string) (groupKey, bool) {
	for i, entry := range f.Groups {
		for _, pattern := range entry {
			if numbers, ok := match(pattern, name); ok {
				at := groupKey{i, unnumbered}
				if len(numbers) > 0 {
					at = groupKey{i}
					copy(at[1:], numbers)
				}
				return at, true
			}
		}
	}
	return groupKey{}, false
}

// match reports whether a pattern of Family.Groups names a parameter, or a module that
// it is of, and gives the numbers for its stars.
func match(pattern, name string) (numbers []int, ok bool) {
	parts := strings.Split(name, ".")
	for i, want := range strings.Split(pattern, ".") {
		if i == len(parts) {
			return nil, false
		}
		n, err := strconv.Atoi(parts[i])
		switch {
		case want == "*" && err == nil:
			numbers = append(numbers, n)
		case want != parts[i]:
			return nil, false
		}
	}
	return numbers, true
}
