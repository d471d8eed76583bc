//! Functions the standard library lacks.

/// Returns `ln(1 + exp(x))`; above 20 it is `x`, as in torch.
pub(crate) fn softplus(x: f64) -> f64 {
    if x > 20.0 { x } else { x.exp().ln_1p() }
}

/// Returns the logarithm of the gamma function of a positive number: Lanczos'
/// approximation (g = 7, nine terms), about 14 digits.
pub(crate) fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        let pi = std::f64::consts::PI;
        return (pi / (pi * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let sum = TERMS.iter().enumerate().skip(1).map(|(index, term)| term / (x + index as f64));
    let sum = TERMS[0] + sum.sum::<f64>();
    let t = x + 7.5;
    0.5 * std::f64::consts::TAU.ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gamma_of_whole_and_half_numbers() {
        let pi = std::f64::consts::PI;
        for (x, expected) in [
            (1.0, 0.0),
            (2.0, 0.0),
            (5.0, 24f64.ln()),
            (11.0, 3_628_800f64.ln()),
            (0.5, pi.sqrt().ln()),
            (1.5, (pi.sqrt() / 2.0).ln()),
            (1e-7, 16.118_095_593_236_76),
            (1e6, 12_815_504.569_147_611),
        ] {
            let error = (ln_gamma(x) - expected).abs() / (1.0 + expected.abs());
            assert!(error < 1e-13, "{x}: {} for {expected}", ln_gamma(x));
        }
    }

    #[test]
    fn softplus_is_smooth_where_it_switches() {
        assert!((softplus(0.0) - 2f64.ln()).abs() < 1e-15);
        assert_eq!(softplus(30.0), 30.0);
        assert!(softplus(-40.0) > 0.0);
        assert!((softplus(20.0) - softplus(20.000_001)).abs() < 1e-5);
    }
}
