package jpeg

// smoothed is how many coefficients, in zigzag order, block smoothing looks at.
const smoothed = 10

// unknown is the accuracy of coefficients that no scan had.
const unknown = -1

func (r *reader) noteAccuracy() {}

func (r *reader) smoothing() bool { return false }

type smoother struct{}

func (p *plane) newSmoother() smoother              { return smoother{} }
func (s *smoother) estimate(blk *block, bx, by int) {}
