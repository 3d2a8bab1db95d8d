package gpu

import (
	"context"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// The first Program.Once steps depend on States alone. A session runs them before its
// first run's other steps, and before those of a run that follows a change of one of
// these States, whoever makes it. What they make lies in memory of the session's own, as
// sessions share all other activations.

// noteStates finds which States the session's runs write, and which ones the steps read
// that run once: slabs by their parts, so that they meet whoever writes these.
func (s *Session) noteStates() {
	s.constants, s.computed = map[*graph.State]bool{}, s.program.Once == 0
	written := map[*graph.State]bool{} // a slab by many steps: every run goes through s.writes
	for i, st := range s.program.Steps {
		first := len(st.Kernel.Bindings) - len(st.Slots)
		for j, slot := range st.Slots {
			if slot.Space != graph.SpaceState {
				continue
			}
			states := ownMemory(s.program.States[slot.Index])
			if st.Kernel.Bindings[first+j].Access == shaders.ReadWrite {
				for _, one := range states {
					if !written[one] {
						written[one], s.writes = true, append(s.writes, one)
					}
				}
				s.commits = min(s.commits, i)
			} else if i < s.program.Once {
				for _, one := range states {
					s.constants[one] = true
				}
			}
		}
	}
}

// ownMemory lists the parts of a slab, and of any other State itself.
func ownMemory(st *graph.State) []*graph.State {
	if st.Parts != nil {
		return st.Parts
	}
	return []*graph.State{st}
}

// computeOnce runs the steps that run once, unless what they made is still right, and
// waits for them: only then is it certain that later runs find it. The caller holds run.
func (s *Session) computeOnce(ctx context.Context, j *job, submit submitter) error {
	if s.computed {
		return nil
	}
	if s.core.options.Check {
		u := newUploader(s.core)
		if err := s.poison(ctx, u, s.kept, s.program.Kept); err != nil {
			return err
		}
	}
	for lo, hi := 0, 0; lo < s.program.Once; lo = hi {
		hi = s.submissionEnd(lo)
		if err := s.submitSteps(ctx, j, lo, hi, nil, submit); err != nil {
			return err
		}
	}
	if err := s.core.wait(ctx, j); err != nil {
		return err
	}
	s.computed = true
	return nil
}

// outdate notes that states, none of them a slab, are about to change. Runs that were
// submitted before still read the old values. The caller holds run.
func (s *Store) outdate(states []*graph.State) {
	s.core.calls.Lock()
	defer s.core.calls.Unlock()
	for _, o := range s.sessions {
		if len(o.constants) > 0 && o.computed && slices.ContainsFunc(states, func(st *graph.State) bool { return o.constants[st] }) {
			o.computed = false
		}
	}
}
