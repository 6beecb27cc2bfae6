from evaluation.table1.paper import PRINTED


def test_printed_figures_are_whole_numbers_of_285_pairs():
    """What identifies the protocol: 57 sequences × 5 warps; the paper prints one to three decimals, cut or rounded."""
    for row in PRINTED.values():
        for value in row.values():
            share = value / 100 * 285
            assert abs(share - round(share)) <= 0.1 / 100 * 285 + 1e-9
