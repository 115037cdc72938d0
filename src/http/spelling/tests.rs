use super::*;

const PERCENT: IdentityRules = IdentityRules { tenant_format: TenantFormat::Exact, encode: Encode::Percent };

#[test]
fn a_tenant_has_one_spelling_in_its_format() {
    let rules = |tenant_format| IdentityRules { tenant_format, encode: Encode::Refuse };
    let id = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
    for (format, raw, expected) in [
        (TenantFormat::Exact, "007", Ok("007")),
        (TenantFormat::Exact, "a b", Err(TenantError::Value(IdentityValueError::Character))),
        (TenantFormat::Exact, "", Err(TenantError::Value(IdentityValueError::Empty))),
        (TenantFormat::Int, "007", Ok("7")),
        (TenantFormat::Int, "7", Ok("7")),
        (TenantFormat::Int, "-07", Ok("-7")),
        (TenantFormat::Int, "000", Ok("0")),
        (TenantFormat::Int, "-0", Ok("0")),
        (TenantFormat::Int, "99999999999999999999999", Ok("99999999999999999999999")),
        (TenantFormat::Int, "+7", Err(TenantError::NotAnInteger)),
        (TenantFormat::Int, " 7", Err(TenantError::NotAnInteger)),
        (TenantFormat::Int, "7.0", Err(TenantError::NotAnInteger)),
        (TenantFormat::Int, "", Err(TenantError::NotAnInteger)),
        (TenantFormat::Int, "-", Err(TenantError::NotAnInteger)),
        (TenantFormat::Int, "\u{667}", Err(TenantError::NotAnInteger)),
        (TenantFormat::Uuid, "0F1E2D3C-4B5A-6978-8796-A5B4C3D2E1F0", Ok(id)),
        (TenantFormat::Uuid, "0f1e2d3c4b5a69788796a5b4c3d2e1f0", Ok(id)),
        (TenantFormat::Uuid, "0f1e2d3c4-b5a-6978-8796-a5b4c3d2e1f0", Err(TenantError::NotAUuid)),
        (TenantFormat::Uuid, "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1-0", Err(TenantError::NotAUuid)),
        (TenantFormat::Uuid, "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1fg", Err(TenantError::NotAUuid)),
        (TenantFormat::Uuid, "7", Err(TenantError::NotAUuid)),
    ] {
        let tenant = rules(format).canonical_tenant(raw);
        assert_eq!(tenant.as_ref().map(TenantId::kept).map_err(|error| *error), expected, "{format:?} {raw:?}");
        assert_eq!(rules(format).shown_tenant(raw), tenant);
        if let Ok(tenant) = tenant {
            assert_eq!(rules(format).canonical_tenant(tenant.kept()), Ok(tenant), "stable");
        }
    }
    // What the gateway shows is encoded already.
    assert_eq!(PERCENT.shown_tenant("a%20b"), PERCENT.canonical_tenant("a b"));
}
