//! What [`super::ChangeOne`] and [`super::Steps`] have in common.

/// What a [`Change`] that is made of [`ChangeOne`] or [`Steps`] says of its items: what the one inside says.
macro_rules! as_inner {
    () => {
        fn id(&self, item: &Self::Item) -> String {
            self.0.id(item)
        }

        fn name(&self, item: &Self::Item) -> Option<String> {
            self.0.name(item)
        }

        fn kind(&self, item: &Self::Item) -> Option<&'static str> {
            self.0.kind(item)
        }

        fn summary(&self) -> String {
            self.0.summary()
        }

        fn plan(&self, item: &Self::Item) -> Option<String> {
            self.0.plan(item)
        }

        fn precheck(&self, item: &Self::Item) -> Option<Outcome<Self::Done>> {
            self.0.precheck(item)
        }

        fn after(&self, item: &Self::Item) -> Vec<Dependency> {
            self.0.after(item)
        }

        fn is_ordered(&self) -> bool {
            self.0.is_ordered()
        }

        fn disrupts(&self) -> bool {
            self.0.disrupts()
        }

        fn tags(&self, item: &Self::Item) -> Option<Vec<(String, String)>> {
            self.0.tags(item)
        }

        fn passed_over(&self) -> u64 {
            self.0.passed_over()
        }

        fn state(&self, item: &Self::Item) -> Option<serde_json::Value> {
            self.0.state(item)
        }

        fn wants_all(&self) -> bool {
            self.0.wants_all()
        }
    };
}
