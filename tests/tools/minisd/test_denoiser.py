from __future__ import annotations

import torch

from tools.minisd.denoiser import snr_weights


def test_snr_weights_have_their_formula():
    alphas = torch.tensor([0.99, 0.5, 0.1])
    torch.testing.assert_close(snr_weights(alphas, 5.0), torch.tensor([5 / 99, 1.0, 1.0]))
    torch.testing.assert_close(snr_weights(alphas, 0.0), torch.ones(3))
