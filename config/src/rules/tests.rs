use super::*;

/// Every rule in the API is of a kind that this checker knows how to enforce.
#[test]
fn no_rule_of_the_api_is_out_of_reach() {
    let mut plans = Plans::new();
    let mut ruled = 0;
    for message in descriptors::pool().all_messages() {
        for item in &plans.of(&message).fields {
            if let Some(rules) = &item.rules {
                ruled += 1;
                within_reach(rules, item.field.full_name());
            }
        }
    }
    assert!(ruled > 1_000, "{ruled}");
}

fn within_reach(rules: &FieldRules, name: &str) {
    match &rules.r#type {
        Some(Type::String(rules)) => {
            if let Some(pattern) = &rules.pattern {
                assert!(regex::Regex::new(pattern).is_ok(), "{name}: {pattern}");
            }
        }
        Some(Type::Bytes(rules)) => {
            assert!(rules.pattern.is_none() && rules.prefix.is_none(), "{name}");
            assert!(rules.suffix.is_none() && rules.contains.is_none(), "{name}");
            assert!(rules.r#in.is_empty() && rules.not_in.is_empty(), "{name}");
            assert!(
                rules.r#const.is_none() && rules.well_known.is_none(),
                "{name}"
            );
        }
        Some(Type::Duration(rules)) => {
            assert!(rules.r#const.is_none(), "{name}");
            assert!(rules.r#in.is_empty() && rules.not_in.is_empty(), "{name}");
            if let (Some(gt), Some(lt)) = (&rules.gt, &rules.lt) {
                assert!(gt.seconds <= lt.seconds, "{name} is an inverted range");
            }
        }
        Some(Type::Timestamp(rules)) => {
            assert!(rules.r#const.is_none() && rules.within.is_none(), "{name}");
            assert!(rules.lt.is_none() && rules.gt.is_none(), "{name}");
            assert!(rules.lt_now.is_none() && rules.gt_now.is_none(), "{name}");
        }
        Some(Type::Repeated(rules)) => {
            if let Some(items) = &rules.items {
                within_reach(items, name);
            }
        }
        Some(Type::Map(rules)) => {
            assert!(rules.no_sparse.is_none(), "{name}");
            for part in [&rules.keys, &rules.values].into_iter().flatten() {
                within_reach(part, name);
            }
        }
        _ => {}
    }
}
